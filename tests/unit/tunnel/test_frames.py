"""This file is the promises of the frame reader: it cuts anything anywhere, and keeps no more than one frame."""

import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.tunnel import frames
from gateway.tunnel.frames import DATA, GO_AWAY, PING, WINDOW, FrameReader, ProtocolBrokenError, Reset
from gateway.tunnel.limits import KIB

LARGEST = 64 * KIB
Found = list[tuple[int, int, int, int, bytes]]


def reader() -> tuple[FrameReader, Found]:
    found: Found = []
    return FrameReader(lambda *frame: found.append((*frame[:4], bytes(frame[4]))), largest=LARGEST), found


def read(pieces: list[bytes]) -> tuple[Found, str]:
    """Return the frames that were read, and the fault that ended it, if any."""
    made, found = reader()
    try:
        for piece in pieces:
            made.feed(piece)
    except ProtocolBrokenError as fault:
        return found, fault.message
    return found, ""


FRAME = st.one_of(
    st.builds(
        lambda flags, stream, payload: frames.pack(DATA, flags, stream, len(payload)) + payload,
        st.integers(0, 15), st.integers(1, 2**32 - 1), st.binary(max_size=600),
    ),
    st.builds(frames.pack, st.just(WINDOW), st.integers(0, 15), st.integers(1, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.builds(frames.pack, st.sampled_from([PING, GO_AWAY]), st.integers(0, 15), st.just(0), st.integers(0, 2**32 - 1)),
)  # fmt: skip


@given(st.lists(FRAME, max_size=12), st.lists(st.integers(1, 700), max_size=40))
def test_the_borders_of_messages_mean_nothing(sent: list[bytes], cuts: list[int]) -> None:
    whole, pieces = b"".join(sent), []
    rest = whole
    for cut in cuts:
        pieces.append(rest[:cut])
        rest = rest[cut:]
    one_by_one = [whole[at : at + 1] for at in range(len(whole))]
    wanted = ([(*struct.unpack(">xBHII", each[:12]), each[12:]) for each in sent], "")
    assert read([whole]) == read([*pieces, rest]) == read(one_by_one) == wanted


@given(st.binary(max_size=400))
@pytest.mark.attack(16)
def test_whatever_comes_whole_and_byte_by_byte_are_read_alike(content: bytes) -> None:
    assert read([content]) == read([content[at : at + 1] for at in range(len(content))])


@pytest.mark.attack(16)
@pytest.mark.parametrize("cut", range(13))
def test_a_header_may_be_cut_at_each_byte(cut: int) -> None:
    frame = frames.pack(DATA, 0, 7, 5) + b"hello"
    assert read([frame[:cut], frame[cut:]]) == ([(DATA, 0, 7, 5, b"hello")], "")


@pytest.mark.attack(16)
@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">BBHII", 1, DATA, 0, 1, 0),
        struct.pack(">BBHII", 0, 4, 0, 1, 0),
        struct.pack(">BBHII", 0, DATA, 16, 1, 0),
        struct.pack(">BBHII", 0, WINDOW, 0x8000, 1, 0),
        struct.pack(">BBHII", 0, DATA, 0, 0, 0),
        struct.pack(">BBHII", 0, WINDOW, 0, 0, 1),
        struct.pack(">BBHII", 0, PING, 1, 3, 0),
        struct.pack(">BBHII", 0, GO_AWAY, 0, 3, 0),
        struct.pack(">BBHII", 0, DATA, 0, 1, LARGEST + 1),
        struct.pack(">BBHII", 0, DATA, 1, 1, 262_145),
        struct.pack(">BBHII", 0, DATA, 0, 1, 2**32 - 1),
    ],
)
def test_a_header_that_is_none_ends_it_at_once(header: bytes) -> None:
    assert read([header])[1]
    assert read([header[:5], header[5:]])[1]


@pytest.mark.attack(15)
def test_a_frame_that_is_announced_costs_nothing_before_it_comes() -> None:
    made, _ = reader()
    tracemalloc.start()
    made.feed(frames.pack(DATA, 0, 1, LARGEST))
    assert tracemalloc.get_traced_memory()[1] < 2 * KIB
    for _ in range(1000):
        made.feed(b"x")
    assert made.kept == 1012
    tracemalloc.stop()


def test_what_follows_a_frame_that_is_none_is_not_read() -> None:
    good, bad = frames.pack(PING, 1, 0, 1), struct.pack(">BBHII", 9, 9, 9, 9, 9)
    found, fault = read([good + bad + good])
    assert len(found) == 1
    assert fault


@pytest.mark.parametrize("number", [8, 99, 2**32 - 1])
def test_a_reason_nobody_knows_is_unspecified(number: int) -> None:
    assert Reset.read(number) is Reset.UNSPECIFIED
