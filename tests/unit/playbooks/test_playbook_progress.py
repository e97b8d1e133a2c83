"""This file is what the reports of a run add up to."""

import pytest

from gateway.kit.errors import Remedy
from gateway.playbooks.port import PlaybookBrokenError, PlaybookFailedError, PlaybookUnreachableError, TaskSeen
from gateway.playbooks.progress import HostKeyChangedError, Progress
from gateway.playbooks.wire import Ended, Line, Published, TaskEnded, TaskState

WELL = Ended(exit_code=0, failed=[], unreachable=[], said="")


def after(*lines: Line) -> Progress:
    progress = Progress()
    for line in lines:
        progress.take(line)
    return progress


def test_tasks_are_counted_by_machine() -> None:
    progress = after(TaskEnded("a", "first", TaskState.OK), TaskEnded("b", "first", TaskState.OK))

    seen = progress.take(TaskEnded("a", "second", TaskState.CHANGED))

    assert seen == TaskSeen(target="a", task="second", changed=True, done=2)


def test_what_machines_publish_and_what_was_changed_is_the_result() -> None:
    progress = after(
        TaskEnded("a", "change", TaskState.CHANGED),
        TaskEnded("b", "change", TaskState.OK),
        Published("a", {"cpus": 2}),
        Published("a", {"swap_off": True}),
        WELL,
    )

    assert progress.result().facts == {"a": {"cpus": 2, "swap_off": True}}
    assert progress.result().changed == {"a": 1, "b": 0}


def test_a_failure_names_machine_task_and_message() -> None:
    progress = after(
        TaskEnded("a", "install", TaskState.FAILED, "no space left"), Ended(2, failed=["a"], unreachable=[], said="")
    )

    with pytest.raises(PlaybookFailedError, match="machine a: task install: no space left"):
        progress.result()


def test_a_failure_that_the_playbook_rescued_is_none() -> None:
    progress = after(TaskEnded("a", "try", TaskState.FAILED, "oh"), TaskEnded("a", "rescue", TaskState.OK), WELL)

    assert progress.result().changed == {"a": 0}


def test_an_unreachable_machine_is_worth_another_try() -> None:
    progress = after(
        TaskEnded("a", "begin", TaskState.UNREACHABLE, "timed out"), Ended(4, failed=[], unreachable=["a"], said="")
    )

    with pytest.raises(PlaybookUnreachableError, match="machine a could not be reached") as caught:
        progress.result()
    assert caught.value.remedy is Remedy.RETRY


def test_a_failure_counts_more_than_an_unreachable_machine_since_trying_again_will_not_mend_it() -> None:
    progress = after(
        TaskEnded("a", "begin", TaskState.UNREACHABLE, "timed out"),
        TaskEnded("b", "begin", TaskState.FAILED, "broken"),
        Ended(4, failed=["b"], unreachable=["a"], said=""),
    )

    with pytest.raises(PlaybookFailedError, match="machine b"):
        progress.result()


def test_another_host_key_is_for_the_operator_to_look_at() -> None:
    said = "Failed to connect: @ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @"
    progress = after(TaskEnded("a", "x", TaskState.UNREACHABLE, said), Ended(4, failed=[], unreachable=["a"], said=""))

    with pytest.raises(HostKeyChangedError) as caught:
        progress.result()
    assert caught.value.remedy is Remedy.OPERATOR


@pytest.mark.parametrize(
    "ended", [None, Ended(127, [], [], "not found"), Ended(2, [], [], "x"), Ended(250, [], [], "")]
)
def test_anything_else_is_ansible_itself_being_broken(ended: Ended | None) -> None:
    progress = after(*([ended] if ended else []))

    with pytest.raises(PlaybookBrokenError):
        progress.result()
