"""This file is the promises of docs/policy.md: its examples are policies."""

import re
from pathlib import Path

import pytest

from gateway.appliance.policy import reading

PAGE = Path(__file__).parents[4] / "docs" / "policy.md"
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)


@pytest.mark.parametrize("text", EXAMPLES, ids=range(len(EXAMPLES)))
def test_an_example_is_a_policy(text: str) -> None:
    reading.parse(text.encode(), name="example")


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3
