"""This file is that frames and sessions do what the vectors in tests/vectors say, byte for byte."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from gateway.tunnel import frames
from gateway.tunnel.frames import FrameReader, ProtocolBrokenError, Reset
from gateway.tunnel.happenings import Data, Ended, Gone, GoneAway, Happening, Opened, Room, WasReset
from gateway.tunnel.limits import Limits
from gateway.tunnel.mux import Mux
from gateway.tunnel.schedule import Lane

VECTORS = Path(__file__).parents[2] / "vectors"
TYPES = {"DATA": frames.DATA, "WINDOW_UPDATE": frames.WINDOW, "PING": frames.PING, "GO_AWAY": frames.GO_AWAY}
FLAGS = {"SYN": frames.SYN, "ACK": frames.ACK, "FIN": frames.FIN, "RST": frames.RST}
PLENTY = 1 << 20


def named(file: str, part: str) -> list[Any]:
    found = json.loads((VECTORS / file).read_text())[part]
    return [pytest.param(one, id=one["name"]) for one in found]


def read(content: bytes) -> list[tuple[int, int, int, int, bytes]]:
    """Read `content` byte by byte."""
    found: list[tuple[int, int, int, int, bytes]] = []
    reader = FrameReader(lambda *frame: found.append((*frame[:4], bytes(frame[4]))), largest=Limits().frame)
    for at in range(len(content)):
        reader.feed(content[at : at + 1])
    return found


@pytest.mark.parametrize("vector", named("frames.json", "frames"))
def test_a_frame_is_read_as_what_it_says(vector: dict[str, Any]) -> None:
    flags = sum(FLAGS[flag] for flag in vector["flags"])
    wanted = (TYPES[vector["type"]], flags, vector["stream"], vector["length"], bytes.fromhex(vector["payload"]))
    assert read(bytes.fromhex(vector["hex"])) == [wanted]


@pytest.mark.parametrize("vector", named("frames.json", "frames"))
def test_a_frame_is_written_as_it_is_read(vector: dict[str, Any]) -> None:
    flags = sum(FLAGS[flag] for flag in vector["flags"])
    header = frames.pack(TYPES[vector["type"]], flags, vector["stream"], vector["length"])
    assert (header + bytes.fromhex(vector["payload"])).hex() == vector["hex"]


@pytest.mark.attack(16)
@pytest.mark.parametrize("vector", named("frames.json", "refused"))
def test_a_frame_that_is_none_ends_the_session_with_its_last_byte_and_not_before(vector: dict[str, Any]) -> None:
    content = bytes.fromhex(vector["hex"])
    assert read(content[:-1]) == []
    with pytest.raises(ProtocolBrokenError):
        read(content)


class End:
    """The tested end: a mux, a clock that only a vector moves, and what has come of it."""

    def __init__(self, end: str, *, cut: bool) -> None:
        self._now = 0.0
        self._cut = cut
        self._happened: list[Happening] = []
        self._mux = Mux(dialler=end == "dialler", now=self._now)

    def step(self, step: dict[str, Any]) -> None:
        """Carry out one step of a vector."""
        match step:
            case {"receive": messages}:
                for message in [bytes.fromhex(text) for text in messages] * step.get("times", 1):
                    self._receive(message + b"a" * step.get("filled", 0))
            case {"opens": count}:
                self._open_many(count, then_reset=False)
            case {"rapid resets": count}:
                self._open_many(count, then_reset=True)
            case {"wait": seconds}:
                self._now += seconds
            case {"do": what}:
                self._do(what, step)
            case {"happens": wanted}:
                happened = [one for one in self._happened if not isinstance(one, Gone)]  # no business of the wire
                self._happened.clear()
                assert [told(one, word) for one, word in zip(happened, wanted, strict=True)] == wanted
            case {"sends": wanted}:
                assert self._sent().hex() == wanted
            case _:
                pytest.fail(f"the vector has a step that is none: {step}")

    def _open_many(self, count: int, *, then_reset: bool) -> None:
        for stream in range(1, 2 * count, 2):
            self._receive(frames.pack(frames.WINDOW, frames.SYN, stream, 0))
            if then_reset:
                self._receive(frames.pack(frames.WINDOW, frames.RST, stream, Reset.CANCELLED))
            self._sent()
        self._happened.clear()

    def _receive(self, message: bytes) -> None:
        pieces: Iterator[bytes] = (
            (message[at : at + 1] for at in range(len(message))) if self._cut else iter((message,))
        )
        for piece in pieces:
            # A payload may be a view that is good only until the next call.
            self._happened += [
                Data(one.stream, bytes(one.payload)) if isinstance(one, Data) else one
                for one in self._mux.receive(piece, self._now)
            ]

    def _do(self, what: str, step: dict[str, Any]) -> None:
        match what:
            case "open":
                assert self._mux.open(Lane.AUTO, self._now) == step["stream"]
            case "send":
                self._mux.send(step["stream"], bytes.fromhex(step["hex"]), self._now)
            case "end":
                self._mux.end(step["stream"], self._now)
            case "reset":
                self._mux.reset(step["stream"], Reset(step["code"]))
            case "read":
                self._mux.read(step["stream"], step["bytes"], self._now)
            case "go away":
                self._mux.go_away()
            case _:
                pytest.fail(f"the vector does what nobody can: {what}")

    def _sent(self) -> bytes:
        return b"".join(bytes(piece) for piece in self._mux.take(PLENTY, self._now)[0])


def told(happening: Happening, wanted: str) -> str:
    """Return what happened in the words of the vectors; data in the same of its two ways as `wanted`."""
    match happening:
        case Opened(stream):
            return f"opened {stream}"
        case Data(stream, payload):
            return f"data {stream} {f'({len(payload)})' if wanted.endswith(')') else bytes(payload).hex()}"
        case Ended(stream):
            return f"ended {stream}"
        case WasReset(stream, reason):
            return f"reset {stream} {int(reason)}"
        case GoneAway(code):
            return f"gone away {code}"
        case Room(stream):
            return f"room {stream}"


@pytest.mark.attack(15)
@pytest.mark.attack(16)
@pytest.mark.attack(17)
@pytest.mark.parametrize("cut", [False, True], ids=["whole", "byte-by-byte"])
@pytest.mark.parametrize("vector", named("sessions.json", "sessions"))
def test_a_session_does_what_its_vector_says(vector: dict[str, Any], cut: bool) -> None:
    end = End(vector["end"], cut=cut)
    *steps, last = vector["steps"]
    if "broken" not in last:
        steps = vector["steps"]
    for step in steps[:-1]:
        end.step(step)
    with pytest.raises(ProtocolBrokenError) if "broken" in last else nullcontext():
        end.step(steps[-1])
    if "broken" not in last:
        end.step({"happens": []})
        end.step({"sends": ""})
