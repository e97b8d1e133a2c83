"""This file is the promises about what was denied: it is in the audit log, once for each reason in a row."""

from pathlib import Path

from gateway.appliance import lately
from gateway.appliance.auditor import Auditor
from gateway.appliance.denials import Denials
from gateway.appliance.lately import Diary
from gateway.appliance.recovering import NotVouchedForError, RecoveryRefusedError
from gateway.audit.lines import Act
from gateway.contract.problems import Problem
from gateway.identity.pinned import ConsoleUnreachableError
from gateway.kit.errors import GatewayError, Remedy
from tests.fakes.clock import HandClock
from tests.unit.audit.logs import a_log, entries


def refused(message: str = "it was revoked") -> GatewayError:
    return RecoveryRefusedError(Problem(code="gateway.revoked", message=message, remedy=Remedy.OPERATOR))


def acts(state: Path) -> list[Act]:
    return [entry.act for entry in entries(a_log(state))]


async def test_a_recovery_that_was_refused_is_in_the_log_with_the_consoles_word(tmp_path: Path) -> None:
    with Auditor(a_log(tmp_path).append) as auditor:
        Denials(Diary(tmp_path, HandClock()), auditor).failed(refused())
    assert acts(tmp_path) == [
        Act("recovery.refused", "refused", {"code": "gateway.revoked", "message": "it was revoked"})
    ]
    assert lately.read(tmp_path).failure is not None


async def test_the_same_refusal_again_and_again_is_one_line_until_it_is_welcomed(tmp_path: Path) -> None:
    clock = HandClock()
    with Auditor(a_log(tmp_path).append) as auditor:
        denials = Denials(Diary(tmp_path, clock), auditor)
        for fault in (refused(), refused(), NotVouchedForError("nobody"), NotVouchedForError("nobody")):
            denials.failed(fault)
        denials.welcomed(clock.now())
        denials.failed(NotVouchedForError("nobody"))
    assert [act.facts["code"] for act in acts(tmp_path)] == ["gateway.revoked", *["recovery.not_vouched_for"] * 2]


async def test_a_console_that_does_not_answer_denies_nothing(tmp_path: Path) -> None:
    with Auditor(a_log(tmp_path).append) as auditor:
        Denials(Diary(tmp_path, HandClock()), auditor).failed(ConsoleUnreachableError("away"))
    assert acts(tmp_path) == []
