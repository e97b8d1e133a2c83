"""This file is every condition that a gateway's identity may be in: what is the case, and what to do about it."""

from datetime import datetime

from gateway.contract.conditions import Condition

CLONED = "cloned"
HARDWARE_CHANGED = "hardware-changed"
LEAVING_UNPROVEN = "leaving-unproven"
JOIN_PROOF_WRONG = "join-proof-wrong"
JOIN_STATE_AHEAD = "join-state-ahead"
OLD_CERTIFICATE_USED = "old-certificate-used"
RECOVERY_NEEDS_APPROVAL = "recovery-needs-approval"
CONSOLE_BEHIND = "console-behind"
COMMAND_REFUSED = "signed-command-refused"
REVOKED = "revoked"
ROLLED_BACK = "rolled-back"

RELEASED = (
    CLONED,
    HARDWARE_CHANGED,
    LEAVING_UNPROVEN,
    JOIN_PROOF_WRONG,
    JOIN_STATE_AHEAD,
    OLD_CERTIFICATE_USED,
    ROLLED_BACK,
    CONSOLE_BEHIND,
    COMMAND_REFUSED,
)
"""What a person who releases a gateway has seen to."""
JOIN_STATES = frozenset({CLONED, JOIN_PROOF_WRONG, JOIN_STATE_AHEAD})
"""After these nobody can tell any more which join state is the right one, but a person."""


def cloned(name: str, how: str, *, now: datetime) -> Condition:
    """There are two of it; `how` tells what was noticed, as a part of a sentence."""
    return Condition(
        type=CLONED,
        message=f"there are two machines with this gateway's identity: {how}; neither may connect",
        remedy="switch all but one of the machines off for good and remove its disks, then run pcg gateway release "
        f"{name}; when you cannot tell who has a copy, run pcg gateway repair-token {name} and pair the right one anew",
        since=now,
    )


def old_certificate_used(name: str, address: str, *, now: datetime) -> Condition:
    """Somebody has what the gateway had before."""
    return Condition(
        type=OLD_CERTIFICATE_USED,
        message=f"a certificate that this gateway has replaced was shown from {address}, and refused",
        remedy="an old copy of the appliance was started, or an old key was stolen: find who calls from there, and "
        f"run pcg gateway release {name} when it is seen to",
        since=now,
    )


def rolled_back(name: str, acknowledged: int, next_event: int, *, lost: int, now: datetime) -> Condition:
    """The gateway was put back to an older state."""
    return Condition(
        type=ROLLED_BACK,
        message=f"the appliance was put back to an older state (its next event was {next_event}, the console has "
        f"{acknowledged}): it goes on from here, and {lost} commands have an unknown outcome",
        remedy="look at the clusters whose commands are unknown and apply them again; run pcg gateway release "
        f"{name} when it is seen to",
        since=now,
    )


def hardware_changed(name: str, before: object, after: object, *, now: datetime) -> Condition:
    """It runs on another machine now."""
    return Condition(
        type=HARDWARE_CHANGED,
        message=f"the appliance runs on another machine now: SMBIOS UUID {after}, it was {before}; it gets no "
        "commands and no streams",
        remedy=f"when it was moved on purpose and the former machine is gone, run pcg gateway release {name}; "
        f"otherwise run pcg gateway revoke {name}",
        since=now,
    )


def recovery_needs_approval(name: str, count: int, *, now: datetime) -> Condition:
    """It has come back too often by itself."""
    return Condition(
        type=RECOVERY_NEEDS_APPROVAL,
        message=f"the appliance has lost its certificate and come back {count} times in 30 days, and asks again",
        remedy=f"find out why it cannot renew in time, then run pcg gateway approve-recovery {name}",
        since=now,
    )


def join_proof_wrong(name: str, address: str, *, now: datetime) -> Condition:
    """Somebody has a key of the gateway's, and not what came with its last certificate."""
    return Condition(
        type=JOIN_PROOF_WRONG,
        message=f"a certificate was asked for from {address} with a key of this gateway but without its last join "
        "state, and refused",
        remedy=f"when the appliance's disk was damaged and repaired, run pcg gateway release {name}; otherwise its "
        f"key was stolen: run pcg gateway repair-token {name} and pair it anew",
        since=now,
    )


def join_state_ahead(name: str, *, now: datetime) -> Condition:
    """The gateway has what the console does not remember to have given."""
    return Condition(
        type=JOIN_STATE_AHEAD,
        message="the appliance holds a join state that this console does not remember to have given out",
        remedy=f"when the console was restored from an older copy, run pcg gateway release {name}",
        since=now,
    )


def leaving_unproven(name: str, address: str, *, now: datetime) -> Condition:
    """Somebody has its TLS key, and says in its name what only its device key may say."""
    return Condition(
        type=LEAVING_UNPROVEN,
        message=f"from {address} it was said with this gateway's certificate, but not by its device key, that its site "
        "ends the pairing; nothing was done",
        remedy=f"when the site wants to end it, run pcg gateway revoke {name}; otherwise its TLS key was stolen: run "
        f"pcg gateway repair-token {name} and pair it anew",
        since=now,
    )


def console_behind(name: str, reasons: list[str], *, now: datetime) -> Condition:
    """This console was put back to an older state, as the gateway has noticed."""
    return Condition(
        type=CONSOLE_BEHIND,
        message=f"the appliance has found that this console knows less than before: {'; '.join(reasons)}; it takes no "
        "new commands, finishes those that it has, and goes on reporting",
        remedy="the console was restored from an older copy: look at its clusters and cancel the commands that wait "
        f"and were carried out already, then run pcg gateway release {name}, or pcg appliance resume on the appliance",
        since=now,
    )


def command_refused(name: str, command: object, why: str, *, now: datetime) -> Condition:
    """The gateway was sent a command that does not stand up to its checks."""
    return Condition(
        type=COMMAND_REFUSED,
        message=f"the appliance has refused command {command}: {why}"[:2000],
        remedy="find out who sends commands in this console's name, or whether its command keys were restored from an "
        f"older copy; run pcg gateway release {name} when it is seen to",
        since=now,
    )


def left(name: str, *, now: datetime) -> Condition:
    """Its site has ended the pairing."""
    return Condition(
        type=REVOKED,
        message="its site has ended the pairing: the appliance has no identity any more",
        remedy=f"remove it with pcg gateway remove {name}, or pair it anew with a token of pcg gateway repair-token",
        since=now,
    )


def revoked(name: str, reason: str, *, now: datetime) -> Condition:
    """A person has taken its identity away."""
    return Condition(
        type=REVOKED,
        message=f"the gateway was revoked{': ' + reason if reason else ''}; it may not connect",
        remedy=f"run pcg gateway repair-token {name} and pair it anew, or remove it",
        since=now,
    )
