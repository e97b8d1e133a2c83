"""This file is what is said when a stream to a target is opened: a preamble, and one reply.

::

    user                          console                         appliance
      | -- UserPreamble ------------> |                               |    gateway and target by name
      |                               | -- StreamPreamble ----------> |    target, lane, and the grant that allows it
      |                               | <------------- StreamReply -- |    dialled, or refused and why
      | <------------- StreamReply -- |                               |
      | <========================= bytes =========================>   |    only after status "ok"

On the wire each is canonical JSON (sorted keys, no space, ASCII) after its length, an unsigned 16-bit integer. Reading
is strict: the size is checked first, and what could be read in two ways is refused.
"""

from typing import Annotated, Literal, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from gateway.contract.shapes import Name, Report, Wish
from gateway.kit.errors import GatewayError, Remedy
from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json, write_canonical_json

PREAMBLE_LIMIT = 4096
"""Bytes of the longest preamble."""
REPLY_LIMIT = 1024
"""Bytes of the longest reply."""
DETAIL_LIMIT = 256
GRANT_LIMIT = 2048
DEEPEST = 2
SESSION_PARAMETER = "session"
"""Parameter of a data session's URL: the session's id, a UUID of the appliance's; grants are bound to it."""
LATCH_PARAMETER = "latch"
"""Parameter of a data session's URL: what the console has told the appliance with its welcome."""

Version = Annotated[int, Field(ge=1, le=1)]
"""Not a Literal, for which true and 1.0 are 1 too."""
TargetKind = Literal["tcp", "vcenter", "kubernetes", "ssh"]
LaneName = Literal["interactive", "bulk", "auto"]
Code = Annotated[str, StringConstraints(pattern=r"^[a-z]+\.[a-z0-9_]+$", max_length=100)]
Detail = Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=DETAIL_LIMIT)]
Shape = TypeVar("Shape", bound=BaseModel)


class StreamNotUnderstoodError(GatewayError):
    """What the other side said when a stream was opened cannot be understood."""

    code = "stream.not_understood"


class OfferedTarget(Report):
    """A target of an appliance, as the console knows it: where it is stays with the appliance."""

    id: Name
    kind: Name = Field(description="tcp, vcenter, kubernetes or ssh; a newer appliance may know more")


class UserPreamble(Wish):
    """A user's program asks the console for a stream."""

    model_config = ConfigDict(strict=True)

    v: Version = 1
    gateway: Name
    target: Name
    lane: LaneName = "auto"


class StreamPreamble(Wish):
    """The console asks an appliance for a stream."""

    model_config = ConfigDict(strict=True)

    v: Version = 1
    target: Name
    lane: LaneName = "auto"
    trace: UUID = Field(description="stands in the audit logs of both ends")
    grant: Annotated[str, StringConstraints(max_length=GRANT_LIMIT)] = Field(repr=False)
    deadline_ms: int = Field(default=10_000, ge=1, le=60_000, description="how long the opener waits for the reply")


class StreamReply(Report):
    """What becomes of a stream that was asked for."""

    model_config = ConfigDict(strict=True)

    status: Literal["ok", "refused"]
    code: Code | None = Field(default=None, description="why it was refused, such as stream.target_unknown")
    detail: Detail = Field(default="", description="the same in a sentence; ASCII on one line")
    remedy: Remedy | None = Field(default=None, description="who can mend it")
    connection_id: UUID | None = Field(default=None, description="the stream in the appliance's audit log")


def write(said: UserPreamble | StreamPreamble | StreamReply) -> bytes:
    """Return what is said as it stands on the wire, without the length before it."""
    return write_canonical_json(said.model_dump(mode="json", exclude_none=True))


def refusal(error: GatewayError, *, connection_id: UUID | None = None) -> StreamReply:
    """Return the reply that tells `error`, cut and escaped so that it fits."""
    return StreamReply(
        status="refused",
        code=error.code,
        detail=_one_line(error.message),
        remedy=error.remedy,
        connection_id=connection_id,
    )


def read_preamble(content: bytes) -> StreamPreamble:
    """Read the console's preamble. Raises StreamNotUnderstoodError."""
    return _read(content, StreamPreamble, limit=PREAMBLE_LIMIT)


def read_user_preamble(content: bytes) -> UserPreamble:
    """Read a user's preamble. Raises StreamNotUnderstoodError."""
    return _read(content, UserPreamble, limit=PREAMBLE_LIMIT)


def read_reply(content: bytes) -> StreamReply:
    """Read a reply. Raises StreamNotUnderstoodError."""
    return _read(content, StreamReply, limit=REPLY_LIMIT)


def _read(content: bytes, shape: type[Shape], *, limit: int) -> Shape:
    try:
        parse_strict_json(content, limit=limit, depth=DEEPEST)
        return shape.model_validate_json(content)
    except NotStrictJsonError as fault:
        raise StreamNotUnderstoodError(fault.message) from fault
    except ValidationError as fault:
        where = ".".join(str(part) for part in fault.errors(include_url=False, include_input=False)[0]["loc"])
        raise StreamNotUnderstoodError(
            f"a stream was opened in words this end does not know ({_one_line(where)[:40]}): upgrade the older end"
        ) from None  # pydantic's error repeats what was said, and a grant may be in it


def _one_line(text: str) -> str:
    return text.encode("ascii", "backslashreplace").decode().translate(_ESCAPES)[:DETAIL_LIMIT]


_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F)}
