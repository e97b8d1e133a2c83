"""This file is that what was approved is what runs: a command bound to a plan's hash changes nothing by another plan.

::

    first attempt    the plan's hash must be the one approved; which steps change something is written down
    later attempts   what is still planned must be among those steps: a power cut makes no room for anything else
"""

import json
from pathlib import Path

from pydantic import ValidationError

from gateway.commands.work import Work
from gateway.contract.plans import Effect, Plan
from gateway.contract.problems import Fault, Problem, RelayedError
from gateway.kit import files
from gateway.kit.errors import Remedy
from gateway.provisioning import drawing
from gateway.provisioning.files import writing
from gateway.provisioning.plans import CHECK

KEPT = 50
"""Plans that are kept, the newest, to tell what has changed since."""


class PlanChangedError(RelayedError):
    """What would be done is no longer what was approved; nothing was done by the new plan."""

    code = "plan.changed"
    remedy = Remedy.CALLER

    def __init__(self, message: str, *, faults: list[Fault]) -> None:
        super().__init__(Problem(code=self.code, message=message, remedy=self.remedy, faults=faults))


def keep(state: Path, plan: Plan) -> None:
    """Keep a plan that was asked for; the oldest goes. Raises StateUnwritableError."""
    with writing(state):
        directory = files.make_private_directory(state / "plans")
        files.write_whole(directory / plan.sha256, plan.model_dump_json().encode())
        for old in sorted(directory.iterdir(), key=lambda one: one.stat().st_mtime, reverse=True)[KEPT:]:
            old.unlink(missing_ok=True)


async def require(approved: str | None, made: Plan, work: Work, *, state: Path) -> None:
    """Return when a command may go on by the plan that was made. Raises PlanChangedError."""
    if approved is None:
        return
    if work.record.has_changed_something:
        _require_rest(made, json.loads(work.noted(CHECK) or "[]"))
        return
    if made.sha256 != approved:
        raise _changed(approved, made, state)
    await work.note(CHECK, json.dumps(_changing(made)))


def _require_rest(made: Plan, approved_steps: list[str]) -> None:
    beyond = [step for step in _changing(made) if step not in approved_steps]
    if beyond:
        raise PlanChangedError(
            f"since the command began the cluster has changed, and going on would do what was not approved "
            f"({', '.join(beyond[:5])}): look at a new plan (pcg cluster plan), and apply that",
            faults=[Fault(where=[step], message="was not approved") for step in beyond[: drawing.MOST_TOLD]],
        )


def _changed(approved: str, made: Plan, state: Path) -> PlanChangedError:
    known = _kept(state, approved)
    faults = drawing.differences(known, made) if known is not None else []
    first = "; ".join(f"{fault.where[0]} {fault.message}" for fault in faults[:3])
    more = f" and {len(faults) - 3} more" if len(faults) > 3 else ""
    why = f"{first}{more}" if faults else "the plan that was approved is not known here, so what differs cannot be told"
    return PlanChangedError(
        f"nothing was changed: the plan is now {made.sha256[:12]}…, not {approved[:12]}… ({why}); look at it "
        "(pcg cluster plan) and apply the new one",
        faults=faults,
    )


def _kept(state: Path, sha256: str) -> Plan | None:
    try:
        return Plan.model_validate_json((state / "plans" / sha256).read_bytes())
    except (OSError, ValidationError):
        return None


def _changing(plan: Plan) -> list[str]:
    return [step.step for step in plan.steps if step.effect is not Effect.NONE]
