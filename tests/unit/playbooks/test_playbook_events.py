"""This file is what is kept of ansible-runner's events."""

from typing import Any

import pytest

from gateway.playbooks import events, wire
from gateway.playbooks.wire import Published, TaskEnded, TaskState


def event(kind: str, **result: object) -> dict[str, Any]:
    return {"event": kind, "event_data": {"host": "a", "task": "do it", "res": result}}


def test_a_task_that_changed_something_says_so() -> None:
    assert list(events.lines_of(event("runner_on_ok", changed=True))) == [TaskEnded("a", "do it", TaskState.CHANGED)]


@pytest.mark.parametrize("kind", ["playbook_on_start", "runner_on_start", "runner_item_on_failed", "verbose", "EOF"])
def test_other_events_say_nothing(kind: str) -> None:
    assert list(events.lines_of(event(kind))) == []


def test_facts_are_taken_from_set_fact_only_when_they_are_ours() -> None:
    lines = list(events.lines_of(event("runner_on_ok", ansible_facts={"pcg_facts": {"cpus": 2}, "other": 1})))

    assert lines[0] == Published("a", {"cpus": 2})


def test_more_facts_than_the_limit_are_dropped() -> None:
    lines = list(events.lines_of(event("runner_on_ok", ansible_facts={"pcg_facts": {"x": "y" * 100_000}})))

    assert lines[0] == Published("a", {})


def test_a_command_that_failed_says_what_it_printed() -> None:
    assert (
        events.why({"msg": "non-zero return code", "stderr": "no such thing\n"}) == "non-zero return code no such thing"
    )


def test_a_loop_that_failed_says_why_its_first_failed_item_did() -> None:
    result = {"msg": "One or more items failed", "results": [{"msg": "fine"}, {"failed": True, "msg": "disk full"}]}

    assert events.why(result) == "disk full"


def test_what_no_log_has_hidden_stays_hidden() -> None:
    assert "hidden" in events.why({"censored": "the output has been hidden"})


@pytest.mark.attack(23)
def test_a_message_cannot_paint_the_terminal_or_fill_the_disk() -> None:
    said = events.why({"msg": "\x1b]52;c;aGk=\x07\r\n\u202egnp" + "x" * 10_000})

    assert said.isprintable()
    assert len(said) <= wire.TEXT_LIMIT


def test_a_line_comes_back_as_it_was_sent() -> None:
    for line in (TaskEnded("a", "b", TaskState.FAILED, "c"), Published("a", {"x": [1]}), wire.Ended(2, ["a"], [], "")):
        assert wire.read_line(wire.write_line(line)) == line


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"kind": "task"}', b'{"kind": "other"}', b"\xff", b"null"])
def test_a_line_in_another_language_is_an_error_with_a_name(text: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read_line(text)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b"\xff", b'{"executable": "x"}'])
def test_an_order_in_another_language_is_an_error_with_a_name(text: bytes) -> None:
    with pytest.raises(wire.WireError):
        wire.read_order(text)
