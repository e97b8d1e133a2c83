"""This file is the policy file on the appliance: `policy.yaml` in its state, written by the site and by nobody else.

A file that is damaged, or that others may write, allows nothing until it is mended.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.contract import documents
from gateway.contract.documents import DocumentError, Kind
from gateway.contract.policy import POLICY_LIMIT, Policy, Profile
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

NAME: Final = "policy.yaml"
KIND: Final = Kind("policy", "docs/policy.md")
FIRST: Final = """\
# What the console may do in this data centre. docs/policy.md tells what can be said here; after a change:
# pcg appliance policy edit-check
profile: {profile}
"""


class PolicyInvalidError(GatewayError):
    """A policy says something that cannot be right."""

    code = "policy.invalid"
    remedy = Remedy.CALLER

    def __init__(self, *lines: str) -> None:
        self.lines = lines
        super().__init__("\n  ".join(lines))


class PolicyUnreadableError(GatewayError):
    """The appliance's policy cannot be read, and so allows nothing."""

    code = "policy.unreadable"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Known:
    """A policy that was read, and the SHA-256 of its file."""

    policy: Policy
    sha256: str
    text: str


def parse(content: bytes, *, name: str) -> Known:
    """Parse a policy; `name` is how messages call it. Raises PolicyInvalidError, with the place of each fault."""
    if len(content) > POLICY_LIMIT:
        raise PolicyInvalidError(f"{name}: the file is over {POLICY_LIMIT // 1024} KiB: is it a policy?")
    try:
        policy = documents.parse(content, Policy, name=name, kind=KIND)
    except DocumentError as fault:
        raise PolicyInvalidError(*fault.lines) from fault
    return Known(policy, hashlib.sha256(content).hexdigest(), content.decode())


def of_profile(profile: Profile) -> bytes:
    """Return the shortest policy file of a profile."""
    return FIRST.format(profile=profile).encode()


class PolicyFile:
    """The policy in one state directory; it is read again when it has changed. Calls block."""

    def __init__(self, state: Path) -> None:
        self.path = state / NAME
        self._read: tuple[tuple[int, ...], Known] | None = None

    def make(self) -> None:
        """Write the policy that allows to look and no more, unless there is one."""
        if not self.path.exists() and not self.path.is_symlink():
            self.write(of_profile(Profile.OBSERVE))

    def write(self, content: bytes) -> None:
        """Replace the policy at once; what was given must have been parsed."""
        files.write_whole(self.path, content)

    def read(self) -> Known:
        """Return the policy as it is now. Raises PolicyUnreadableError."""
        try:
            found = self.path.lstat()
            _check_owner(self.path, found)
            seen = (found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
            read = self._read  # at once: other threads read too
            if read is None or read[0] != seen:
                self._read = read = (seen, parse(_content(self.path), name=str(self.path)))
        except OSError as fault:
            raise PolicyUnreadableError(
                f"the policy {self.path} cannot be read ({fault.strerror}), so nothing is allowed: "
                "write one with `pcg appliance policy set`"
            ) from fault
        except PolicyInvalidError as fault:
            raise PolicyUnreadableError(
                f"the policy is damaged, so nothing is allowed: {fault.message}; mend it, and look with "
                "`pcg appliance policy edit-check`"
            ) from fault
        return read[1]


def _check_owner(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode) or found.st_uid not in {0, os.geteuid()} or found.st_mode & 0o022:
        raise PolicyUnreadableError(
            f"the policy {path} is not the site's alone, so nothing is allowed: it must be a file that belongs to root "
            "and that nobody else may write; chown it, and chmod 0600"
        )


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(POLICY_LIMIT + 1)
