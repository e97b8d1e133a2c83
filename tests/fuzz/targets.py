"""This file is what random bytes are thrown at: each target takes bytes, and may raise its own kind of error only.

A target that finds something wrong raises anything else; the fuzzer keeps the bytes that did it.
"""

from collections.abc import Callable

from gateway.kit.strictjson import NotStrictJsonError, parse_strict_json, write_canonical_json
from gateway.tunnel.frames import Bytes, FrameReader, ProtocolBrokenError, Reset
from gateway.tunnel.happenings import Data, Opened
from gateway.tunnel.limits import LARGEST_MESSAGE, MIB, Limits
from gateway.tunnel.mux import Mux
from gateway.tunnel.schedule import Lane
from gateway.tunnel.websocket import CAPACITY, Control, Reader, WebSocketBrokenError

Target = Callable[[bytes], None]
LIMITS = Limits(streams=20, unanswered=10, budget=MIB)


def frames(content: bytes) -> None:
    """Read whole and cut, the same comes out; no more than a frame is kept."""
    whole, cut = _frames([content]), _frames(_cut(content, 1))
    if whole != cut:
        raise AssertionError("the borders of messages mean something")


def _frames(pieces: list[bytes]) -> tuple[list[object], str]:
    found: list[object] = []

    def on_frame(kind: int, flags: int, stream: int, length: int, payload: Bytes) -> None:
        found.append((kind, flags, stream, length, bytes(payload)))

    reader = FrameReader(on_frame, largest=LIMITS.frame)
    try:
        for piece in pieces:
            reader.feed(piece)
            if reader.kept > LIMITS.frame + 12:
                raise AssertionError("more than a frame is kept")
    except ProtocolBrokenError as fault:
        return found, fault.message
    return found, ""


def mux(content: bytes) -> None:
    """The first bytes say what the program here does between messages; the rest is the peer."""
    program, peer = content[:8], content[8:]
    end, now = Mux(dialler=False, now=0.0, limits=LIMITS), 0.0
    for _ in range(2):
        end.send(end.open(Lane.AUTO, now), b"x" * 1000, now)
    try:
        for number, message in enumerate(_cut(peer, 1 + program[0] if program else 64)):
            now += 0.01
            for each in end.receive(message, now):
                if isinstance(each, Opened):
                    _use(end, each.stream, program[number % 8 :][:1] or b"\0", now)
                elif isinstance(each, Data) and len(program) > 1 and program[1] & 1:
                    end.read(each.stream, len(each.payload), now)
            end.take(MIB, now)
            if end.held > LIMITS.budget or end.streams > LIMITS.streams:
                raise AssertionError("a limit does not hold")
    except ProtocolBrokenError:
        return


def _use(end: Mux, stream: int, how: bytes, now: float) -> None:
    end.answered(stream)
    end.send(stream, b"y" * (how[0] * 100), now)
    if how[0] & 1:
        end.end(stream, now)
    if how[0] & 6 == 6:
        end.reset(stream, Reset.CANCELLED)


def websocket(content: bytes) -> None:
    """Read whole and cut, the same comes out, as far as it is taken; there is always room for more."""
    masked, rest = bool(content[:1] and content[0] & 1), content[1:]
    whole, cut = _messages(rest, len(rest) or 1, masked=masked), _messages(rest, 1, masked=masked)
    if whole != cut:
        raise AssertionError("it matters how the bytes came")


def _messages(content: bytes, step: int, *, masked: bool) -> tuple[bytes, list[Control], int]:
    payload, controls = bytearray(), list[Control]()
    reader = Reader(masked=masked, on_payload=payload.extend, on_control=controls.append)
    code = 0
    try:
        for piece in _cut(content, step):
            reader.feed(piece)
            if not 0 < len(reader.room()) <= CAPACITY:
                raise AssertionError("there is no room for the next bytes")
    except WebSocketBrokenError as fault:
        code = fault.close_code
    if len(payload) > max(len(content), LARGEST_MESSAGE):
        raise AssertionError("more comes out than went in")
    return bytes(payload), controls, code


def strict_json(content: bytes) -> None:
    """What is read once is read the same again from its one spelling."""
    try:
        found = parse_strict_json(content, limit=4096)
    except NotStrictJsonError:
        return
    if len(content) > 4096:
        raise AssertionError("it is over the limit")
    written = write_canonical_json(found)
    if parse_strict_json(written, limit=8 * 4096) != found:
        raise AssertionError("it can be read in two ways")


def _cut(content: bytes, step: int) -> list[bytes]:
    return [content[at : at + step] for at in range(0, len(content), step)]


TARGETS: dict[str, Target] = {"frames": frames, "mux": mux, "websocket": websocket, "strict_json": strict_json}
