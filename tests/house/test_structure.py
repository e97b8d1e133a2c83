"""This file is what keeps the house as easy to see as on its first day."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from tests.house import pages

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "gateway").rglob("*.py"))
MODULES = [path for path in SOURCES if path.name != "__init__.py" and "versions" not in path.parts]
LINE_LIMIT = 400
NAMES_THAT_SAY_NOTHING = {"utils", "util", "helper", "helpers", "manager", "base", "data", "common", "misc"}


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_in_its_first_line_what_it_is(path: Path) -> None:
    said = ast.get_docstring(ast.parse(path.read_text()))
    assert said is not None
    assert said.startswith("This file is ")


def test_no_file_is_longer_than_its_reader_can_hold() -> None:
    tests = (ROOT / "tests").rglob("*.py")
    long = {name(path): len(path.read_text().splitlines()) for path in (*SOURCES, *tests)}
    assert {path: lines for path, lines in long.items() if lines > LINE_LIMIT} == {}


def test_no_file_has_a_name_that_says_nothing() -> None:
    assert [name(path) for path in SOURCES if path.stem in NAMES_THAT_SAY_NOTHING] == []


def test_every_error_code_has_one_shape_and_one_meaning() -> None:
    codes = [one.code for one in pages.product_errors()]
    assert [code for code in codes if not re.fullmatch(r"[a-z]+\.[a-z0-9_]+", code)] == []
    assert sorted({code for code in codes if codes.count(code) > 1}) == []


def test_only_the_lab_knows_of_the_lab() -> None:
    others = [path for path in MODULES if "lab" not in path.parts and path.parent.name != "cli"]
    assert [name(path) for path in others if re.search(r"gateway[./]lab|nspawn|vcsim", path.read_text())] == []


def test_no_path_of_one_machine_is_in_the_project() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    machine = re.compile(r"(?<![\w.])/(?:work|root|home/\w+)/")
    found = [path for path in tracked if (ROOT / path).is_file() and machine.search(_text(ROOT / path))]
    assert found == []


def _text(path: Path) -> str:
    return path.read_text(errors="replace")
