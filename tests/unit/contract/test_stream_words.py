"""This file is the promises of what is said when a stream is opened, and of how messages grew by it."""

import json
import tracemalloc
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gateway.contract import streams
from gateway.contract.messages import Hello, Offers, Welcome, from_appliance, from_console
from gateway.contract.streams import (
    DETAIL_LIMIT,
    PREAMBLE_LIMIT,
    REPLY_LIMIT,
    OfferedTarget,
    StreamNotUnderstoodError,
    StreamPreamble,
    StreamReply,
    UserPreamble,
)
from gateway.kit.errors import GatewayError, Remedy
from tests.fakes.wishes import WHEN

TRACE = UUID(int=5)


def a_preamble() -> StreamPreamble:
    return StreamPreamble(target="vcenter", lane="bulk", trace=TRACE, grant="g", deadline_ms=500)


def preamble_with(**changed: object) -> bytes:
    return json.dumps(json.loads(streams.write(a_preamble())) | changed).encode()


def test_the_words_on_the_wire_are_canonical() -> None:
    assert streams.write(a_preamble()) == (
        b'{"deadline_ms":500,"grant":"g","lane":"bulk","target":"vcenter",'
        b'"trace":"00000000-0000-0000-0000-000000000005","v":1}'
    )


def test_what_is_written_is_read_back() -> None:
    user = UserPreamble(gateway="dc1", target="vcenter")
    reply = StreamReply(status="ok", connection_id=TRACE)
    assert streams.read_preamble(streams.write(a_preamble())) == a_preamble()
    assert streams.read_user_preamble(streams.write(user)) == user
    assert streams.read_reply(streams.write(reply)) == reply


@pytest.mark.attack(19)
@pytest.mark.parametrize(
    "content",
    [
        b'{"v":1,"v":1}',
        b'{"v":NaN}',
        b'{"v":-Infinity}',
        b'{"v":1e400}',
        b'{"v":9007199254740993}',
        b'{"v":' + b"9" * 4000 + b"}",
        b'{"grant":"\\ud800"}',
        b'{"a":' * 3 + b"1" + b"}" * 3,
        b"[" * 4000,
        b'{"a' + b'\\"' * 2000,
        b"\xff\xfe",
        b"",
        b"null",
        b"{} {}",
        b"{'v':1}",
        b" " * (PREAMBLE_LIMIT + 1),
        b'{"__proto__":1}',
    ],
    ids=repr,
)
def test_json_that_is_none_or_has_two_meanings_is_refused(content: bytes) -> None:
    for read in (streams.read_preamble, streams.read_user_preamble, streams.read_reply):
        with pytest.raises(StreamNotUnderstoodError):
            read(content)


@pytest.mark.attack(10)
@pytest.mark.attack(19)
@pytest.mark.parametrize(
    "changed",
    [
        {"host": "10.0.0.1"},
        {"target": "10.0.0.1:443"},
        {"target": "10.0.0.1"},
        {"target": "vcenter@evil"},
        {"target": "vcenter\n"},
        {"target": "vcenter."},
        {"target": "../vcenter"},
        {"target": "VCENTER"},
        {"target": "vc\u0435nter"},
        {"target": "::ffff:127.0.0.1"},
        {"target": ["vcenter"]},
        {"target": None},
        {"target": "a" * 41},
        {"lane": "fast"},
        {"trace": "5"},
        {"trace": 5},
        {"grant": "g" * 2049},
        {"deadline_ms": 0},
        {"deadline_ms": 60_001},
        {"deadline_ms": "500"},
        {"deadline_ms": True},
        {"deadline_ms": 500.0},
        {"v": 2},
        {"v": True},
        {"v": 1.0},
    ],
    ids=repr,
)
def test_a_preamble_says_what_it_may_and_nothing_else(changed: dict[str, object]) -> None:
    with pytest.raises(StreamNotUnderstoodError) as refused:
        streams.read_preamble(preamble_with(**changed))
    assert refused.value.code == "stream.not_understood"


@pytest.mark.attack(19)
@given(st.binary(max_size=5000))
def test_whatever_comes_is_refused_with_one_error(junk: bytes) -> None:
    with pytest.raises(StreamNotUnderstoodError) as refused:
        streams.read_preamble(junk)
    assert refused.value.message.isascii()


@pytest.mark.attack(19)
def test_what_is_too_large_is_not_looked_at() -> None:
    huge = b'["a"' + b',"a"' * 2_000_000 + b"]"
    tracemalloc.start()
    try:
        with pytest.raises(StreamNotUnderstoodError):
            streams.read_preamble(huge)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_refused_preamble_is_not_repeated_in_the_error() -> None:
    with pytest.raises(StreamNotUnderstoodError) as refused:
        streams.read_preamble(preamble_with(grant="s3cret" * 400))
    assert "s3cret" not in str(refused.value)
    assert refused.value.__cause__ is None


@pytest.mark.attack(23)
@given(st.text(max_size=600))
def test_whatever_an_error_says_fits_into_a_reply_on_one_plain_line(text: str) -> None:
    reply = streams.refusal(GatewayError(text), connection_id=TRACE)
    content = streams.write(reply)
    assert len(content) <= REPLY_LIMIT
    assert streams.read_reply(content) == reply
    assert reply.detail.isascii()
    assert reply.detail.isprintable()
    assert len(reply.detail) <= DETAIL_LIMIT


def test_a_refusal_says_who_can_help() -> None:
    reply = streams.refusal(StreamNotUnderstoodError("no"))
    assert (reply.status, reply.code, reply.detail) == ("refused", "stream.not_understood", "no")
    assert reply.remedy is Remedy.DEVELOPER


def test_a_newer_appliance_may_say_more_in_a_reply() -> None:
    assert streams.read_reply(b'{"status":"ok","more":1}').status == "ok"


def test_a_hello_of_version_1_and_one_of_version_2_are_both_understood() -> None:
    old = {"type": "hello", "protocol": 1, "software": "0", "boot_id": str(TRACE), "next_event": 1}
    new = old | {"protocol": 2, "targets": [{"id": "vc", "kind": "vcenter"}, {"id": "x", "kind": "of-tomorrow"}]}
    heard = [from_appliance.validate_json(json.dumps(one)) for one in (old, new)]
    assert [[one.id for one in hello.targets] for hello in heard if isinstance(hello, Hello)] == [[], ["vc", "x"]]


def test_offers_tell_no_address() -> None:
    told = Offers(accounts=["main"], targets=[OfferedTarget(id="vc", kind="vcenter")]).model_dump()
    offered = {"type": "offers", "accounts": ["main"], "targets": [{"id": "vc", "kind": "vcenter"}]}
    assert told == offered | {"policy": None, "halted": None}


@pytest.mark.parametrize("key", ["", "a" * 42, "a" * 44, "+" * 43])
def test_a_welcome_brings_a_key_or_none(key: str) -> None:
    welcome = Welcome(protocol=1, server_time=WHEN, acknowledged=0)
    assert isinstance(from_console.validate_json(welcome.model_dump_json()), Welcome)
    with pytest.raises(ValidationError):
        Welcome(protocol=2, server_time=WHEN, acknowledged=0, grant_key=key)
