"""This file is what the reports of one run add up to: progress while it goes, then a result or the reason; pure."""

from gateway.kit.errors import Remedy
from gateway.playbooks.port import (
    PlaybookBrokenError,
    PlaybookFailedError,
    PlaybookResult,
    PlaybookUnreachableError,
    TaskSeen,
)
from gateway.playbooks.wire import Ended, Line, Published, TaskEnded, TaskState

OUR_EXIT_CODES = (0, 2, 4)
"""ansible-playbook's own: all well, a task failed, a machine was unreachable. Everything else is Ansible itself."""


class HostKeyChangedError(PlaybookUnreachableError):
    """A machine shows another SSH host key than at the first contact."""

    code = "playbook.host_key_changed"
    remedy = Remedy.OPERATOR


class Progress:
    """Counts what is reported of one run."""

    def __init__(self) -> None:
        self.ended: Ended | None = None
        self._done: dict[str, int] = {}
        self._changed: dict[str, int] = {}
        self._facts: dict[str, dict[str, object]] = {}
        self._last_trouble: dict[str, TaskEnded] = {}

    def take(self, line: Line) -> TaskSeen | None:
        """Take a report in; return the progress it stands for, if any."""
        match line:
            case TaskEnded():
                return self._count(line)
            case Published():
                self._facts.setdefault(line.target, {}).update(line.facts)
            case Ended():
                self.ended = line
        return None

    def result(self) -> PlaybookResult:
        """Return what the run has found. Raises PlaybookFailedError, PlaybookUnreachableError, PlaybookBrokenError."""
        ended = self.ended
        if ended is None:
            raise PlaybookBrokenError("the process that runs Ansible ended without a word: see the appliance's log")
        if ended.exit_code not in OUR_EXIT_CODES or (ended.exit_code and not ended.failed + ended.unreachable):
            raise PlaybookBrokenError(f"Ansible could not run the playbook: {ended.said}", exit_code=ended.exit_code)
        for machine in ended.failed:
            raise self._failed(machine)
        for machine in ended.unreachable:
            raise self._unreachable(machine)
        return PlaybookResult(
            facts={name: dict(found) for name, found in self._facts.items()},  # type: ignore[arg-type]  # it was JSON
            changed={name: self._changed.get(name, 0) for name in self._done},
        )

    def _count(self, line: TaskEnded) -> TaskSeen:
        self._done[line.target] = self._done.get(line.target, 0) + 1
        changed = line.state is TaskState.CHANGED
        if changed:
            self._changed[line.target] = self._changed.get(line.target, 0) + 1
        if line.state in (TaskState.FAILED, TaskState.UNREACHABLE):
            self._last_trouble[line.target] = line
        return TaskSeen(target=line.target, task=line.task, changed=changed, done=self._done[line.target])

    def _failed(self, machine: str) -> PlaybookFailedError:
        task, message = self._trouble_of(machine)
        return PlaybookFailedError(f"machine {machine}: task {task}: {message}", machine=machine, task=task)

    def _unreachable(self, machine: str) -> PlaybookUnreachableError:
        task, message = self._trouble_of(machine)
        if "HOST IDENTIFICATION HAS CHANGED" in message:
            return HostKeyChangedError(
                f"machine {machine} shows another SSH host key than at the first contact: find out who answers at its "
                "address before you let the new key be learned",
                machine=machine,
            )
        return PlaybookUnreachableError(
            f"machine {machine} could not be reached over SSH at task {task}: {message}", machine=machine, task=task
        )

    def _trouble_of(self, machine: str) -> tuple[str, str]:
        trouble = self._last_trouble.get(machine)
        return (trouble.task, trouble.message) if trouble else ("unknown", "no reason given")
