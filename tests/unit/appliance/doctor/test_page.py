"""This file is that docs/doctor.md says of each finding what the doctor says of it."""

import re
from pathlib import Path

from gateway.appliance.doctor.findings import FINDINGS, Check

PAGE = (Path(__file__).parents[4] / "docs" / "doctor.md").read_text()
ROW = re.compile(r"^\| `([a-z]+\.[a-z_]+)` \| ([a-z]+) \| (.*) \| (.*) \|$", re.MULTILINE)


def test_every_finding_is_on_the_page_in_the_doctors_own_words() -> None:
    written = {found[0]: found[1:] for found in ROW.findall(PAGE)}
    assert written == {one.code: (one.verdict.value, one.cause, one.remedy) for one in FINDINGS}


def test_every_check_has_its_section_in_the_order_it_is_done() -> None:
    titles = re.findall(r"^## \d+\. (\w+)$", PAGE, re.MULTILINE)
    assert titles == [check.value for check in Check]
