"""This file is whom an appliance trusts as its console, and how that trust is handed on from one root to the next."""

from typing import Annotated

from pydantic import Field, StringConstraints

from gateway.contract.shapes import Report

Pem = Annotated[str, StringConstraints(max_length=16384)]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A SHA-256 in hexadecimal."""
Nonce = Digest
"""32 random bytes in hexadecimal."""
Signature = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/=]{1,256}$")]
"""Base64."""

MOST_ROOTS = 2
MOST_SUCCESSIONS = 64
MOST_ISSUERS = 8
LATEST_VERSION = 2**31 - 1


class TrustBundle(Report):
    """The roots that may vouch for the console: the current one, and the next while one is being brought in."""

    version: int = Field(ge=1, le=LATEST_VERSION, description="grows with each change")
    roots: list[Pem] = Field(min_length=1, max_length=MOST_ROOTS, description="one certificate each, PEM")


class Succession(Report):
    """A root's word that another follows it. It has no date: it is believed because of who signed, not when."""

    follows: Digest = Field(description="SHA-256 of the SubjectPublicKeyInfo of the root that signs")
    root: Pem = Field(description="the root that follows, PEM")
    signature: Signature = Field(description="ECDSA P-256 with SHA-256 by the root that is followed, DER")


class Grounds(Report):
    """On what a bundle may be believed that a console says, whose own certificate proves nothing for good."""

    steps: list[Succession] = Field(
        default_factory=list, max_length=MOST_SUCCESSIONS, description="how its roots follow each other, oldest first"
    )
    issuers: list[Pem] = Field(
        default_factory=list,
        max_length=MOST_ISSUERS,
        description="the intermediates between its roots and what the console shows, PEM",
    )


class Successions(Report):
    """Every handing on that the console remembers, the oldest first, and the bundle that they lead to."""

    steps: list[Succession] = Field(max_length=MOST_SUCCESSIONS)
    trust: TrustBundle
