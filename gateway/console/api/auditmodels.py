"""This file is what the API answers about the audit log as evidence: its lines byte for byte, and its signed roots."""

from pydantic import Field

from gateway.audit.roots import Root
from gateway.contract.shapes import Report, Wish


class ListLines(Wish):
    """Which lines of the audit log, and how many."""

    after: int = Field(default=0, ge=0, description="only lines behind the one of this number, for the next page")
    limit: int = Field(default=1000, ge=1, le=1000, description="how many lines at most")


class AuditLine(Report):
    """A line of the log's chain."""

    number: int
    line: str = Field(description="the line as it stands, of which the next one holds the SHA-256")
    differs: bool = Field(description="whether the entry that is shown says other than its line")


class AuditPage(Report):
    """Lines of the audit log, the oldest first."""

    items: list[AuditLine]


class RootView(Report):
    """That the line of that number had that hash and was the last one."""

    log: str
    number: int
    head: str = Field(description="SHA-256 of the line")
    at: str
    why: str = Field(description="day, export or stop")
    key: str = Field(description="the public key, SubjectPublicKeyInfo, base64")
    signature: str = Field(description="ECDSA P-256 with SHA-256, DER, base64")

    @property
    def plain(self) -> Root:
        """The root itself."""
        return Root(self.log, self.number, self.head, self.at, self.why, self.key, self.signature)


class AuditRoots(Report):
    """The signed roots of the tenant's log, the oldest first."""

    log: str = Field(description="the log's name, which is the tenant's id")
    key: str = Field(description="the public key that signs now, PEM")
    roots: list[RootView]
