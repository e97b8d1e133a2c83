"""This file is the promises of RFC 6455 framing: the library reads what we write, we what it writes; abuse ends it."""

import struct
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from gateway.tunnel import websocket
from gateway.tunnel.frames import Bytes
from gateway.tunnel.limits import KIB, LARGEST_MESSAGE, MIB
from gateway.tunnel.websocket import CAPACITY, FRAGMENTS, Control, Reader, WebSocketBrokenError, Writer

KEY = b"\x01\x02\x03\x04"


class Read:
    """A reader and what has come of it."""

    def __init__(self, *, masked: bool = True) -> None:
        self.payload = bytearray()
        self.controls: list[Control] = []
        self.reader = Reader(masked=masked, on_payload=self.payload.extend, on_control=self.controls.append)

    def feed(self, content: bytes, step: int | None = None) -> "Read":
        for at in range(0, len(content), step or len(content) or 1):
            self.reader.feed(content[at : at + (step or len(content))])
        return self


def frame(payload: bytes, *, opcode: Opcode = Opcode.BINARY, fin: bool = True, masked: bool = True) -> bytes:
    """Return a frame as the library writes it."""
    return Frame(opcode, payload, fin).serialize(mask=masked)


def head(first: int, second: int, *more: bytes) -> bytes:
    return bytes((first, second)) + b"".join(more)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, CAPACITY - 14, CAPACITY, MIB])
def test_what_the_library_writes_is_read_whole_however_it_is_cut(size: int, masked: bool) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    sent = frame(payload[:size], masked=masked) + frame(b"next", masked=masked)
    for step in (None, 1460, 7 if size < 70_000 else 65_537):
        assert Read(masked=masked).feed(sent, step).payload == payload[:size] + b"next"


@pytest.mark.parametrize("masks", [True, False])
@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 200_000])
def test_the_library_reads_what_is_written(size: int, masks: bool) -> None:
    payload = bytes(range(251)) * (size // 251 + 1)
    pieces: list[Bytes] = [payload[: size // 3], memoryview(payload)[size // 3 : size]]
    stream = StreamReader()
    stream.feed_data(Writer(masks=masks).message(pieces))
    parsing = Frame.parse(stream.read_exact, mask=masks, max_size=None)
    with pytest.raises(StopIteration) as done:
        next(parsing)
    assert bytes(done.value.value.data) == payload[:size]


def test_no_two_frames_are_masked_with_one_key() -> None:
    writer = Writer(masks=True)
    keys = {writer.message([b"x"])[2:6] for _ in range(3000)}
    assert len(keys) > 2990


@settings(max_examples=60)
@given(st.lists(st.tuples(st.binary(max_size=300), st.integers(1, 4)), max_size=6), st.integers(1, 50))
def test_fragments_and_controls_between_them_are_one_stream_of_bytes(
    messages: list[tuple[bytes, int]], step: int
) -> None:
    sent, wanted, pings = b"", b"", 0
    for payload, parts in messages:
        cuts = [payload[part::parts] for part in range(parts)]
        for number, part in enumerate(cuts):
            opcode = Opcode.CONT if number else Opcode.BINARY
            sent += frame(part, opcode=opcode, fin=number == parts - 1) + frame(b"p", opcode=Opcode.PING)
            wanted += part
            pings += 1
    read = Read().feed(sent, step)
    assert read.payload == wanted
    assert read.controls == [Control(websocket.PING, b"p")] * pings


def closed_with(content: bytes, *, masked: bool = True) -> int:
    """Return the close code that bytes are answered with, whole and byte by byte alike."""
    codes = set()
    for step in (None, 1):
        with pytest.raises(WebSocketBrokenError) as broken:
            Read(masked=masked).feed(content, step)
        codes.add(broken.value.close_code)
    return codes.pop() if len(codes) == 1 else 0


@pytest.mark.attack(18)
@pytest.mark.parametrize(
    ("content", "code"),
    [
        pytest.param(head(0x82, 0xFF, struct.pack(">Q", 10 * 2**30)), 1009, id="a message of 10 GiB is announced"),
        pytest.param(head(0x82, 0xFF, struct.pack(">Q", LARGEST_MESSAGE + 1)), 1009, id="one byte too many"),
        pytest.param(head(0x82, 0xFF, struct.pack(">Q", 2**64 - 1)), 1009, id="more than there is"),
        pytest.param(head(0x82, 0xFF, struct.pack(">Q", 100), KEY), 1002, id="a length in the long way"),
        pytest.param(head(0x82, 0xFE, struct.pack(">H", 100), KEY), 1002, id="a length in the middle way"),
        pytest.param(frame(b"words", opcode=Opcode.TEXT), 1003, id="text"),
        pytest.param(head(0xC2, 0x80, KEY), 1002, id="compressed"),
        pytest.param(head(0xA2, 0x80, KEY), 1002, id="a second reserved bit"),
        pytest.param(head(0x92, 0x80, KEY), 1002, id="a third reserved bit"),
        pytest.param(head(0x89, 0xFE, struct.pack(">H", 126), KEY), 1002, id="a ping of 126 bytes"),
        pytest.param(head(0x88, 0xFF, struct.pack(">Q", 2**40), KEY), 1002, id="a close without end"),
        pytest.param(head(0x09, 0x80, KEY), 1002, id="a control frame in fragments"),
        pytest.param(frame(b"bare", masked=False), 1002, id="not masked"),
        pytest.param(head(0x83, 0x80, KEY), 1002, id="an opcode that is none"),
        pytest.param(head(0x8B, 0x80, KEY), 1002, id="a control opcode that is none"),
        pytest.param(head(0x80, 0x80, KEY), 1002, id="a continuation of nothing"),
        pytest.param(head(0x02, 0x80, KEY) + head(0x82, 0x80, KEY), 1002, id="a message within a message"),
    ],
)
def test_abuse_is_closed_with_the_code_that_names_it(content: bytes, code: int) -> None:
    assert closed_with(content) == code


@pytest.mark.attack(18)
def test_a_server_that_masks_is_no_server() -> None:
    assert closed_with(frame(b"masked"), masked=False) == 1002


@pytest.mark.attack(18)
@pytest.mark.parametrize("payload", [b"", b"x"])
def test_a_million_fragments_are_closed_after_a_thousand_and_cost_nothing(payload: bytes) -> None:
    read, fragment = Read(), frame(payload, opcode=Opcode.CONT, fin=False)
    read.feed(frame(payload, fin=False))
    tracemalloc.start()
    with pytest.raises(WebSocketBrokenError) as broken:
        read.feed(fragment * FRAGMENTS)
    assert broken.value.close_code == 1009
    assert len(read.payload) <= FRAGMENTS
    assert tracemalloc.get_traced_memory()[1] < MIB
    tracemalloc.stop()


@pytest.mark.attack(18)
def test_fragments_that_add_up_to_more_than_a_message_are_closed() -> None:
    read = Read().feed(frame(b"x" * (LARGEST_MESSAGE - 10), fin=False))
    with pytest.raises(WebSocketBrokenError) as broken:
        read.feed(frame(b"x" * 11, opcode=Opcode.CONT, fin=False))
    assert broken.value.close_code == 1009
    assert len(read.payload) == LARGEST_MESSAGE - 10


@pytest.mark.attack(18)
def test_a_head_that_announces_much_and_brings_little_costs_nothing() -> None:
    read = Read()
    tracemalloc.start()
    read.feed(head(0x82, 0xFF, struct.pack(">Q", MIB), KEY) + b"little")
    assert tracemalloc.get_traced_memory()[1] < 16 * KIB
    tracemalloc.stop()
    assert len(read.payload) == 6


@pytest.mark.attack(18)
def test_a_reader_that_was_stopped_takes_no_notice_of_anything() -> None:
    read = Read()
    read.reader.stop()
    for _ in range(10):
        read.feed(b"\xff" * CAPACITY)
    assert not read.payload
    assert len(read.reader.room()) == CAPACITY


def test_there_is_always_room_for_the_next_bytes() -> None:
    """An event loop that is given an empty buffer ends the connection."""
    read = Read()
    for size in (CAPACITY - 15, CAPACITY - 14, CAPACITY - 13, CAPACITY, CAPACITY + 1):
        for byte_at in range(0, len(sent := frame(b"x" * size)), 9973):
            read.feed(sent[byte_at : byte_at + 9973])
            assert len(read.reader.room())


def test_a_close_frame_holds_as_much_of_its_reason_as_fits_and_no_half_letter() -> None:
    read = Read(masked=False).feed(Writer(masks=False).close(1002, "ž" * 200))
    assert read.controls[0].payload == struct.pack(">H", 1002) + ("ž" * 61).encode()
