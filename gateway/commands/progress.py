"""This file is the lane of progress: of each step the latest word, written when there is time and room for it.

State events are numbered and never dropped. What a step says of how far it is matters only until it says more: what
was not written yet is replaced, what comes too late is left out, and none of it is kept when the console is far behind.
"""

from dataclasses import dataclass, field
from uuid import UUID

from gateway.commands.ledger import CommandState, Decision, Ledger, Said
from gateway.contract.events import StepProgress

PAUSE = 0.5
"""Seconds between two writes of progress: each step is heard twice a second at most."""

MOST_WAITING = 10_000
"""Events the console has not acknowledged, above which no progress is written."""


@dataclass(slots=True)
class Latest:
    """The latest progress of each step that was not written yet."""

    _words: dict[tuple[UUID, str], StepProgress] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._words)

    def say(self, command_id: UUID, progress: StepProgress) -> None:
        """Take a word of progress; it replaces what the step said before."""
        self._words[command_id, progress.step] = progress

    def taken(self) -> list[Said]:
        """Return all there is to say, once."""
        found: list[Said] = [(command_id, word) for (command_id, _), word in self._words.items()]
        self._words.clear()
        return found


def still_true(said: list[Said], ledger: Ledger) -> Decision:
    """Leave out progress of what is over: nobody shall hear of a step again that was done."""
    return Decision(said=[one for one in said if _goes_on(ledger, *one)])


def _goes_on(ledger: Ledger, command_id: UUID, body: object) -> bool:
    known = ledger.get(command_id)
    if known is None or known.state is CommandState.ENDED or not isinstance(body, StepProgress):
        return False
    step = known.steps.get(body.step)
    return step is None or not step.done
