"""This file is the promises of the cluster file: what is wrong is said with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import clusterfile
from gateway.cli.clusterfile import ClusterFileError, ClusterFileUnreadableError

GOOD = """\
name: demo
gateway: dc1
cloud:
  account: lab
  template: debian-12
pools:
  - name: control-plane
    role: control-plane
    count: 1
  - name: workers
    role: worker
    count: 2
    cpus: 4
"""


def said(text: str) -> str:
    with pytest.raises(ClusterFileError) as caught:
        clusterfile.parse(text.encode(), name="c.yaml")
    return caught.value.message


def test_a_good_file_is_read() -> None:
    spec = clusterfile.parse(GOOD.encode(), name="c.yaml")
    assert [(pool.name, pool.count, pool.cpus) for pool in spec.pools] == [("control-plane", 1, 2), ("workers", 2, 4)]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("cpus: 4", "cpu: 4", "c.yaml:13:5: pools[1].cpu: unknown key; did you mean cpus?"),
        ("cpus: 4", "colour: red", "c.yaml:13:5: pools[1].colour: unknown key; known are name, role, count"),
        ("count: 2", "count: two", "c.yaml:12:12: pools[1].count: Input should be a valid integer"),
        ("count: 2", "count: yes", "c.yaml:12:12: pools[1].count: Input should be a valid integer"),
        ("count: 2", "count: -2", "c.yaml:12:12: pools[1].count: Input should be greater than or equal to 0"),
        ("count: 1", "count: 2", "c.yaml:1:1: the control plane has 2 machines: etcd needs an odd number"),
        ("name: workers", "name: control-plane", "c.yaml:1:1: two pools are named 'control-plane'"),
        ("role: worker\n", "role: boss\n", "c.yaml:11:11: pools[1].role: Input should be 'control-plane' or 'worker'"),
        ("gateway: dc1\n", "", "c.yaml:1:1: gateway: this key is missing"),
        (
            "gateway: dc1",
            "gateway: dc1\ngateway: dc2",
            "c.yaml:3:1: the key 'gateway' stands here twice, first in line 2",
        ),
        ("name: demo", "name: Demo_1", "c.yaml:1:7: name: a name is 1 to 40 lowercase letters"),
        ("name: demo", "name: [", "this is not YAML"),
        ("count: 2", "count: 2024-99-99", "c.yaml:12:12: pools[1].count: Input should be a valid integer"),
        ("count: 2", "count: !!int foo", "c.yaml:12:12: this cannot be read as a value of the kind int"),
        ("count: 2", f"count: {'9' * 5000}", "c.yaml:12:12: this cannot be read as a value of the kind int"),
        ("count: 2", f"count: 0x{'9' * 5000}", "c.yaml:12:12: this cannot be read as a value of the kind int"),
        ("count: 2", "count: !!int ''", "c.yaml:12:12: this cannot be read as a value of the kind int"),
        ("count: 2", "count: !!bool x", "c.yaml:12:12: this cannot be read as a value of the kind bool"),
        ("count: 2", "count: !!timestamp x", "c.yaml:12:12: pools[1].count: Input should be a valid integer"),
        ("count: 2", "count: !!map x", "c.yaml:12:12: the tag tag:yaml.org,2002:map has no meaning here"),
        ("count: 2", "count: !!str [a]", "c.yaml:12:12: the tag tag:yaml.org,2002:str has no meaning here"),
        ("cpus: 4", "2024-01-01: 4", "c.yaml:13:5: a key must be a plain word"),
        ("cpus: 4", "!!int cpus: 4", "c.yaml:13:5: a key must be a plain word"),
        ("cpus: 4", "5: 4", "c.yaml:13:5: a key must be a plain word"),
        ("cpus: 4", "[a]: 4", "c.yaml:13:5: a key must be a plain word"),
        ("cpus: 4", "<<: 5", "c.yaml:13:5: << has no meaning here: write the keys out"),
        ("cpus: 4", "<<: {cpus: 3}", "c.yaml:13:5: << has no meaning here"),
        ("name: demo", 'name: "\\ud800"', "c.yaml:1:7: this cannot be read"),
        ("name: demo", "name: !!python/object:os.system x", "c.yaml:1:7: the tag"),
    ],
)
def test_each_fault_is_named_with_its_place(old: str, new: str, expected: str) -> None:
    assert old in GOOD
    assert expected in said(GOOD.replace(old, new, 1))


def test_all_faults_are_named_at_once() -> None:
    message = said(GOOD.replace("cpus: 4", "cpus: 0").replace("count: 1", "count: many"))
    assert "pools[0].count" in message
    assert "pools[1].cpus" in message


def test_an_empty_file_is_refused() -> None:
    assert "empty" in said("")


def test_a_list_is_no_cluster() -> None:
    assert said("- a\n- b\n").startswith("c.yaml:1:1:")


@pytest.mark.attack(25)
def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    assert "more than" in said("\n".join(lines))


@pytest.mark.attack(25)
def test_a_circle_of_aliases_is_refused() -> None:
    assert "circle" in said("a: &a [*a]")


@pytest.mark.attack(25)
def test_a_huge_file_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    path.write_bytes(b"a" * (clusterfile.SIZE_LIMIT + 1))
    with pytest.raises(ClusterFileError, match="1024 KiB"):
        clusterfile.read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterFileUnreadableError, match=r"nowhere\.yaml"):
        clusterfile.read(tmp_path / "nowhere.yaml")


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_whatever_the_file_holds_it_is_refused_not_crashed_on(content: bytes) -> None:
    with pytest.raises(ClusterFileError):
        clusterfile.parse(content, name="c.yaml")


FRAGMENTS = st.sampled_from(
    [
        *("2024-99-99", "2024-01-01", "!!int foo", "!!float x", "!!bool x", "!!null x", "!!timestamp x", "!!map x"),
        *(
            "!!seq {a: b}",
            "!!str [a]",
            "!!set {a}",
            "!!omap [a: b]",
            "!!binary x",
            "!x y",
            "9" * 5000,
            "0x_",
            "0b",
            "1:60",
        ),
        *(
            "<<: 5",
            "<<: [*a]",
            "<<: {cpus: 3}",
            "=: 4",
            "=",
            "~",
            "~: x",
            "5: x",
            "? [a]",
            "? ",
            "&a x",
            "*a",
            "&a [*a]",
        ),
        *(
            ".inf",
            "-.nan",
            "1e999",
            "{",
            "[",
            "]",
            "}",
            "- ",
            "|",
            ">",
            ">-\n",
            "'",
            '"',
            '"\\ud800"',
            "\\x00",
            "%",
            "@",
        ),
        *("---", "...", "--- a", "# x", "\t", "\n", "\n  ", " ", ": ", ",", "name: x", "0o7", "0777", "1_0", "y", "no"),
    ]
)


def refusal(text: str) -> str | None:
    try:
        clusterfile.parse(text.encode(), name="c.yaml")
    except ClusterFileError as error:
        return error.message
    return None


@given(st.lists(st.tuples(st.integers(0, len(GOOD)), FRAGMENTS), min_size=1, max_size=4))
def test_whatever_stands_in_a_good_file_is_read_or_refused(places: list[tuple[int, str]]) -> None:
    text = GOOD
    for place, fragment in places:
        text = text[:place] + fragment + text[place:]
    assert (refusal(text) or "c.yaml:").startswith("c.yaml:")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 30), FRAGMENTS)
def test_a_value_replaced_by_anything_is_read_or_refused(start: int, length: int, fragment: str) -> None:
    assert (refusal(GOOD[:start] + fragment + GOOD[start + length :]) or "c.yaml:").startswith("c.yaml:")


def test_a_date_is_the_text_it_was_written_as() -> None:
    assert clusterfile.parse(GOOD.replace("demo", "2024-01-01").encode(), name="c.yaml").name == "2024-01-01"
