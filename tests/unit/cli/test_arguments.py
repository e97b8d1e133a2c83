"""This file is the promises of arguments: a name names one thing, and nothing is removed unasked."""

import io
import sys

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from gateway.cli import arguments, asking
from gateway.cli.arguments import InputInvalidError
from gateway.cli.asking import NotConfirmedError
from gateway.cli.main import application


class Terminal(io.StringIO):
    """A terminal that somebody has typed into."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("text", ["demo", "a", "a-1", "0", "x" * 40])
def test_a_name_is_taken_as_it_is(text: str) -> None:
    assert arguments.name(text) == text


@pytest.mark.parametrize("text", ["", "x/../prod", "..", "a b", "Demo", "-a", "a-", "x" * 41, "a\n", "a?b", "a%2fb"])
def test_what_is_no_name_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(InputInvalidError, match="1 to 40 lowercase letters"):
        arguments.name(text)


@pytest.mark.parametrize(
    "said",
    [
        ["cluster", "delete", "x/../prod", "--yes"],
        ["cluster", "show", "x/../prod"],
        ["cluster", "watch", "x?y"],
        ["gateway", "inventory", "../x", "--account", "lab"],
        ["gateway", "inventory", "dc1", "--account", "a/b"],
        ["token", "create", "a/b"],
        ["token", "revoke", "../gateways/dc1"],
        ["login", "https://console", "--project", "../x"],
    ],
    ids=" ".join,
)
def test_every_command_checks_the_names_it_is_given(said: list[str]) -> None:
    with pytest.raises(InputInvalidError):
        typer.main.get_command(application([])).main(said, standalone_mode=False)


def test_a_token_given_in_place_of_its_id_is_not_repeated() -> None:
    with pytest.raises(InputInvalidError) as caught:
        arguments.token_id("pcgreg1_secret")
    assert "secret" not in caught.value.message


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4))
def test_each_part_of_a_path_stays_one_part(parts: list[str]) -> None:
    try:
        path = arguments.path(*parts)
    except InputInvalidError:
        assert {".", ".."} & set(parts)
        return
    url = URL("https://console").join(URL(f"/api/v1{path}"))
    assert url.raw_parts[:3] == ("/", "api", "v1")
    assert len(url.raw_parts) == 3 + len(parts)
    assert url.raw_path == f"/api/v1{path}" or URL(f"/api/v1{path}").parts[3:] == tuple(parts)
    assert not url.query_string


def test_without_a_terminal_nothing_is_removed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    with pytest.raises(NotConfirmedError, match="--yes"):
        asking.confirm_removal("Remove it?", yes=False)


def test_with_a_closed_standard_input_nothing_is_removed_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(NotConfirmedError, match="--yes"):
        asking.confirm_removal("Remove it?", yes=False)


def test_who_said_yes_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    asking.confirm_removal("Remove it?", yes=True)


@pytest.mark.parametrize(
    ("typed", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_yes_is_yes_and_the_question_is_on_standard_error(
    typed: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = Terminal()
    monkeypatch.setattr(sys, "stdin", Terminal(typed))
    monkeypatch.setattr(sys, "stderr", asked)
    if agreed:
        asking.confirm_removal("Remove it?", yes=False)
    else:
        with pytest.raises(NotConfirmedError):
            asking.confirm_removal("Remove it?", yes=False)
    assert asked.getvalue() == "Remove it? [y/N] "
    assert capsys.readouterr().out == ""
