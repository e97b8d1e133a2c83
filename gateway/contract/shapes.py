"""This file is what contract models are made of: strict for wishes, forgiving for reports."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic_core import ErrorDetails

NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$"
LINE_PATTERN = r"^[^\x00-\x1f\x7f]+$"
CLOCK_PATTERN = r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"
KEY_PATTERN = r"^[A-Za-z0-9_-]{43}$"
RULES = {
    NAME_PATTERN: "a name is 1 to 40 lowercase letters, digits and dashes, and begins and ends with no dash",
    LINE_PATTERN: "this must be text on one line, without control characters",
    CLOCK_PATTERN: "a time of the day is written as in 07:30, up to 24:00",
    KEY_PATTERN: "a key is 43 letters, digits, dashes and underscores: 32 bytes, base64url",
}
"""What patterns ask for, in words."""

Name = Annotated[
    str, StringConstraints(pattern=NAME_PATTERN), Field(description=RULES[NAME_PATTERN], examples=["demo"])
]
"""A DNS label short enough that cluster, pool and number together still make a host name (RFC 1123)."""

ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=LINE_PATTERN)]
"""A name somebody else chose, such as a template's in vCenter."""

Sentence = Annotated[str, StringConstraints(max_length=2000)]
"""Text for a person, bounded so that nobody can fill our disk with it."""


class Wish(BaseModel):
    """Something asked of us: frozen, and refused when it holds a field we do not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Report(BaseModel):
    """Something told to us: frozen; a newer peer may say more than we understand."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def rule_broken(error: ErrorDetails) -> str:
    """Return the rule that a value breaks, in words."""
    said = error["msg"].removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        return RULES.get(error["ctx"]["pattern"], said)
    return said
