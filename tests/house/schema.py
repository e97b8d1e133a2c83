"""This file is how docs/protocol.schema.json is made: the shape of everything that is said, for other languages."""

import json

from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from gateway.contract import messages
from gateway.contract.accounts import Resealed, SealedAccounts
from gateway.contract.commands import Command
from gateway.contract.identity import (
    RecoveryChallenge,
    RecoveryFinish,
    RecoveryResult,
    RecoveryStart,
    Renew,
    RenewalRefused,
    Renewed,
)
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult, PairingStart
from gateway.contract.policy import PolicyProposed, PolicyTightened
from gateway.contract.problems import Problem
from gateway.contract.signing import CommandKeys, LaneResumed, Sealed
from gateway.contract.streams import StreamPreamble, StreamReply, UserPreamble
from gateway.contract.trust import Successions
from gateway.identity.grants import Grant

MODELS = (
    *(messages.Hello, messages.Accepted, messages.Rejected, messages.ReportEvents, messages.Offers),
    *(messages.Welcome, messages.Deliver, messages.Acknowledge),
    *(UserPreamble, StreamPreamble, StreamReply, Grant),
    *(messages.Deferred, messages.Trust, messages.TrustKept, messages.Leaving),
    *(PolicyProposed, PolicyTightened, CommandKeys, LaneResumed, Sealed),
    *(Renew, Renewed, RenewalRefused, SealedAccounts, Resealed),
    *(PairingStart, PairingChallenge, PairingFinish, PairingResult),
    *(RecoveryStart, RecoveryChallenge, RecoveryFinish, RecoveryResult, Successions),
    *(Command, Problem),
)


def every_message() -> set[str]:
    """Return the names of all messages of the command channel."""
    adapters: tuple[TypeAdapter[messages.FromAppliance], TypeAdapter[messages.FromConsole]] = (
        messages.from_appliance,
        messages.from_console,
    )
    return {
        place.rsplit("/", 1)[1]
        for adapter in adapters
        for place in adapter.json_schema()["discriminator"]["mapping"].values()
    }


def schema_page() -> str:
    """Return the JSON Schema (2020-12) of all messages, as they are read."""
    _, schema = models_json_schema([(model, "validation") for model in MODELS], title="private cloud gateway: protocol")
    return json.dumps(schema, indent=1, sort_keys=True) + "\n"
