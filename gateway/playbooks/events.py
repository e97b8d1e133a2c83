"""This file is what our wire keeps of ansible-runner's events; pure, standard library only."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from gateway.playbooks.wire import FACTS_LIMIT, Line, Published, TaskEnded, TaskState, printable

_STATES = {
    "runner_on_ok": TaskState.OK,
    "runner_on_skipped": TaskState.SKIPPED,
    "runner_on_failed": TaskState.FAILED,
    "runner_on_unreachable": TaskState.UNREACHABLE,
}
_SAY_NOTHING = ("", "non-zero return code", "One or more items failed", "All items completed")
"""Messages that leave the reader where he was: what the command itself printed says more."""


def lines_of(event: Mapping[str, Any]) -> Iterator[Line]:
    """Yield the lines to be written for one event of ansible-runner; most events give none."""
    state = _STATES.get(event.get("event", ""))
    about = event.get("event_data") or {}
    if state is None or "host" not in about:
        return
    result = about.get("res") or {}
    facts = published(result)
    if facts is not None:
        yield Published(target=about["host"], facts=facts)
    yield TaskEnded(
        target=about["host"],
        task=printable(about.get("task") or "", limit=200),
        state=TaskState.CHANGED if state is TaskState.OK and result.get("changed") else state,
        message=why(result) if state in (TaskState.FAILED, TaskState.UNREACHABLE) else "",
    )


def published(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what a set_fact has put into `pcg_facts`, or nothing; too much of it counts as a mapping of none."""
    facts = (result.get("ansible_facts") or {}).get("pcg_facts")
    if not isinstance(facts, dict):
        return None
    return facts if len(json.dumps(facts)) <= FACTS_LIMIT else {}


def why(result: Mapping[str, Any]) -> str:
    """Return why a task failed, from its result, as one bounded line.

    A loop's reason is its first failed item's. A result under `no_log` has reached us censored, and says so.
    """
    for item in result.get("results") or []:
        if isinstance(item, Mapping) and (item.get("failed") or item.get("unreachable")):
            return why(item)
    message = _text(result.get("msg"))
    if message.strip() in _SAY_NOTHING or message.startswith("MODULE FAILURE"):
        spoken = [_text(result.get(stream)) for stream in ("stderr", "module_stderr", "stdout", "module_stdout")]
        message = " ".join([message, *(_last_lines(text) for text in spoken)]).strip()
    return printable(message or _text(result.get("censored")) or "no reason given")


def machines_in(stats: Mapping[str, Any], key: str) -> list[str]:
    """Return the machines for which that counter of the closing statistics is above zero."""
    return sorted(name for name, count in (stats.get(key) or {}).items() if count)


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, default=str)


def _last_lines(text: str) -> str:
    return " ".join(text.strip().splitlines()[-4:])
