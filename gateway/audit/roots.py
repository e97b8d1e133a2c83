"""This file is the signed roots of an audit log: who holds one knows of every line up to it whether it was changed.

::

    root       = log, number and hash of a line, when it was made, why, the key (SPKI, DER, base64), signature (base64)
    signature  = ECDSA P-256 with SHA-256 over  "pcg audit root 1" 0x00 {"at","head","log","number","why"}

A root is a line of the log it speaks of, and is kept beside it, too: so a log that ends too early is noticed.
"""

import base64
import json
from dataclasses import dataclass
from typing import Final, Protocol

from gateway.audit.lines import Act, Entry, Fact
from gateway.identity import keys
from gateway.identity.keys import KeyUnreadableError

ACTION: Final = "audit.root"
DOMAIN: Final = b"pcg audit root 1\0"


class Signer(Protocol):
    """A private key, wherever it is kept."""

    @property
    def public_pem(self) -> str:
        """The public key, SubjectPublicKeyInfo in PEM."""

    def sign(self, message: bytes) -> bytes:
        """Return the ECDSA signature with SHA-256 over `message`, in DER."""


@dataclass(frozen=True, slots=True)
class Root:
    """That a line of a log had this hash, and that it was the last one then."""

    log: str
    number: int
    head: str
    at: str
    why: str
    key: str
    signature: str = ""

    @property
    def public_pem(self) -> str:
        """The key it was signed with, in PEM."""
        lines = [self.key[at : at + 64] for at in range(0, len(self.key), 64)]
        return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def made(signer: Signer, *, log: str, number: int, head: str, at: str, why: str) -> Root:
    """Return the root that says this. May take as long as the key takes, and raises what it raises."""
    root = Root(log, number, head, at, why, key_text(signer.public_pem))
    return Root(log, number, head, at, why, root.key, base64.b64encode(signer.sign(_message(root))).decode())


def is_signed(root: Root) -> bool:
    """Tell whether a root is signed by the key that it names."""
    try:
        signature = base64.b64decode(root.signature, validate=True)
        return keys.signed(keys.read_public(root.public_pem), signature, _message(root))
    except (KeyUnreadableError, ValueError):
        return False


def act(root: Root) -> Act:
    """Return the root as a line of the log."""
    facts: dict[str, Fact] = {"log": root.log, "line": root.number, "head": root.head, "made": root.at, "why": root.why}
    return Act(ACTION, "ok", {**facts, "key": root.key, "signature": root.signature})


def of(entry: Entry) -> Root | None:
    """Return the root that a line of the log is, or None."""
    if entry.act.action != ACTION:
        return None
    facts = {name: str(value) for name, value in entry.act.facts.items()}
    try:
        number = int(facts["line"])
        said = (facts["head"], facts["made"], facts["why"], facts["key"], facts["signature"])
        return Root(facts["log"], number, *said)
    except (KeyError, ValueError):
        return Root("", 0, "", "", "", "")  # it claims to be one, and its signature will not hold


def written(root: Root) -> bytes:
    """Return a root as one line, without its end, as it is kept beside the log."""
    document = {name: getattr(root, name) for name in ("at", "head", "key", "log", "number", "signature", "why")}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()


def read(line: bytes) -> Root | None:
    """Return the root that a line says which was kept beside a log, or None when it says none."""
    try:
        said = json.loads(line)
        names = ("log", "number", "head", "at", "why", "key", "signature")
        log, number, *rest = (said[name] for name in names)
        return Root(str(log), int(number), *map(str, rest))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def key_text(public_pem: str) -> str:
    """Return a public key as a root names it: SubjectPublicKeyInfo, base64, on one line. Raises KeyUnreadableError."""
    pem = keys.public_pem(keys.read_public(public_pem))
    return "".join(line for line in pem.splitlines() if not line.startswith("-----"))


def _message(root: Root) -> bytes:
    said = {"at": root.at, "head": root.head, "log": root.log, "number": root.number, "why": root.why}
    return DOMAIN + json.dumps(said, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
