"""This file is what is written into the audit log of a recovery that came to nothing, once for each reason."""

from datetime import datetime

from gateway.appliance.auditor import Auditor
from gateway.appliance.lately import Diary
from gateway.appliance.recovering import NotVouchedForError, RecoveryRefusedError
from gateway.audit.lines import Act
from gateway.contract.problems import problem_of
from gateway.identity.succession import SuccessionBrokenError
from gateway.kit.errors import GatewayError

DENIED = (RecoveryRefusedError, NotVouchedForError, SuccessionBrokenError)


class Denials:
    """The diary, and the audit log of what was denied: by the console, or to one that nobody vouches for."""

    def __init__(self, diary: Diary, auditor: Auditor) -> None:
        self._diary = diary
        self._auditor = auditor
        self._told: tuple[str, str] | None = None

    def welcomed(self, server_time: datetime) -> None:
        """Take note of a welcome."""
        self._diary.welcomed(server_time)
        self._told = None

    def failed(self, fault: GatewayError) -> None:
        """Take note of a call that failed."""
        self._diary.failed(fault)
        problem = problem_of(fault)
        said = (problem.code, problem.message)
        if isinstance(fault, DENIED) and said != self._told:
            self._told = said
            facts = {"code": problem.code, "message": problem.message}
            self._auditor.keep(Act("recovery.refused", "refused", facts))
