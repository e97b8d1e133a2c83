"""This file is that docs/protocol.md tells the numbers of the code: each one in backquotes, and no other."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from gateway.appliance import greeting
from gateway.appliance.settings import ApplianceSettings
from gateway.console import admission, enrolling, lane, relay, sessions, talk
from gateway.console import nested as console_nested
from gateway.console.api import tunnel as user_tunnel
from gateway.contract import accounts, messages, streams, trust, version
from gateway.contract.identity import Hardware
from gateway.contract.pairing import PairingChallenge, PairingFinish, PairingResult, PairingStart
from gateway.identity import challenge, grants, pairing, tokens
from gateway.kit import strictjson
from gateway.kit.backoff import Backoff
from gateway.tunnel import (
    acceptor,
    answers,
    calling,
    channel,
    engine,
    frames,
    handshake,
    limits,
    liveness,
    mux,
    nested,
    pace,
    porch,
    session,
    websocket,
    windows,
)
from gateway.tunnel.frames import GoAway, Reset
from gateway.tunnel.limits import Limits
from tests.house import schema

PAGE = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text()
TEXT = " ".join(PAGE.split())
N = "`([0-9]+)`"
DEFAULTS = Limits()
GRANT_SECONDS = int(grants.LONGEST / timedelta(seconds=1))
STREAM = streams.StreamPreamble.model_fields


def bound(name: str) -> int:
    """Return the upper bound of a number in a stream's preamble."""
    return next(int(one.le) for one in STREAM[name].metadata if hasattr(one, "le"))


RULES: list[tuple[str, tuple[float, ...]]] = [
    (f"largest message | {N} bytes | {N} bytes, in at most {N} fragments",
     (messages.MESSAGE_LIMIT, limits.LARGEST_MESSAGE, websocket.FRAGMENTS)),
    (f"a control frame over {N} bytes", (websocket.LARGEST_CONTROL,)),
    (f"More than {N} of PING and PONG a second, after {N} at once",
     (engine.PINGS_PER_SECOND, 4 * engine.PINGS_PER_SECOND)),
    (f"The handshake takes at most {N} seconds", (calling.OPEN_LIMIT,)),
    (f"gives the peer {N} tokens of the second kind", (mux.TOKENS_PER_STREAM,)),
    (f"who is not answered cuts after {N} seconds", (engine.GOODBYE_LIMIT,)),
    (f"After {N} seconds without one an end asks", (liveness.QUIET,)),
    (f"after {N} seconds it gives the peer up", (liveness.DEAD,)),
    (f"at most {N} s (full jitter)", (ApplianceSettings.model_fields["reconnect_cap"].default,)),
    (f"only after a WebSocket has lasted {N} s", (Backoff(lambda: 0.0).stable,)),
    (f"at least that long, at most {N} s", (answers.AT_MOST,)),
    (f"keep it within {N} bytes. hashicorp", (limits.MESSAGE,)),
    (f"with more than {N} bytes of payload", (DEFAULTS.frame,)),
    (f"keep frames within {N} bytes", (limits.INTERACTIVE_FRAME,)),
    (f"at most {N} bytes after the length, and is answered with `u16 length | reply`, at most {N}",
     (limits.PREAMBLE, limits.REPLY)),
    (f"No whole preamble within {N} seconds", (session.PREAMBLE_LIMIT,)),
    (f"no reply within its limit ({N} seconds", (session.OPEN_LIMIT,)),
    (f"begins with credit for {N} bytes", (limits.FIRST_WINDOW,)),
    (f"A sum over {N} is", (windows.LARGEST_CREDIT,)),
    (f"round trips, up to {N} bytes", (DEFAULTS.window,)),
    (f"one part in {N} of what is free of the budget: {N} bytes", (windows.WINDOWS_FREE, DEFAULTS.budget)),
    *[(f"{N} | {word} |", (reason,)) for word, reason in {
        "unspecified": Reset.UNSPECIFIED,
        "refused policy": Reset.REFUSED_POLICY,
        "target unreachable": Reset.TARGET_UNREACHABLE,
        "timeout": Reset.TIMEOUT,
        "busy": Reset.BUSY,
        "internal": Reset.INTERNAL,
        "cancelled": Reset.CANCELLED,
        "idle": Reset.IDLE,
    }.items()],
    (f"remembers the last {N} ids", (limits.TOMBSTONES,)),
    (f"at least {N} bytes and at most {N}. The queue", (pace.SMALLEST_CAP, pace.LARGEST_CAP)),
    (f"| PING | {N} | {N} | 1 for each {N} bytes", (2 * DEFAULTS.pings, DEFAULTS.pings, mux.BYTES_PER_TOKEN)),
    (f"an answer to no PING | {N} | {N} | 1 for each {N} bytes",
     (4 * DEFAULTS.controls, DEFAULTS.controls, mux.BYTES_PER_TOKEN)),
    (f"with less than {N} bytes, and a message", (limits.SMALL_FRAME,)),
    (f"a third kind: {N} at once, {N} a second, 1 for each {N} bytes",
     (2 * DEFAULTS.smalls, DEFAULTS.smalls, mux.BYTES_PER_TOKEN)),
    (f"lets nobody in for {N} seconds with", (acceptor.BARRED,)),
    (f"used an id of {N} or above", (limits.RENEWED_AT,)),
    (f"from {N} on either end says", (limits.LAST_ID,)),
    (f"At most {N} callers may be opening TLS at the tunnel port, {N} from one", (porch.MOST, porch.MOST_EACH)),
    (f"a {N}rd PING", (limits.QUEUED_PONGS + 1,)),
    (f"A {N}th stream that waits for its reply, and one beyond {N} open", (DEFAULTS.unanswered + 1, DEFAULTS.streams)),
    (f"{N} | drain:", (GoAway.NORMAL,)),
    (f"for at most {N} seconds | | {N} | the protocol was broken", (session.DRAIN_LIMIT, GoAway.PROTOCOL_ERROR)),
    (f"{N} | an internal error;", (GoAway.INTERNAL_ERROR,)),
    (f"more than {N} levels", (streams.DEEPEST,)),
    (f"opens streams, at most {N} at a time", (user_tunnel.LIMITS.streams,)),
    (f"grant` | at most {N} characters", (streams.GRANT_LIMIT,)),
    (f"1 to {N}, {N} when left out", (bound("deadline_ms"), STREAM["deadline_ms"].default)),
    (f"printable ASCII, at most {N} characters", (streams.DETAIL_LIMIT,)),
    (f"RFC 3339, at most {N} seconds apart", (GRANT_SECONDS,)),
    (f"in the grant's favour, at most {N} seconds", (grants.MOST_DOUBT.total_seconds(),)),
    (f"accounts` (names, at most {N})", (messages.MOST_ACCOUNTS,)),
    (f"`id` and `kind`, at most {N})", (messages.MOST_TARGETS,)),
    (f"`events`, 1 to {N} in the order", (messages.REPORT_EVENTS,)),
    (f"This page is version {N}; the oldest spoken is {N}", (version.PROTOCOL, version.OLDEST_SPOKEN)),
    (f"`accounts` that are sealed to the gateway (at most {N})", (accounts.MOST_SEALED,)),
    (f"since 3: `approvals` (at most {N})", (messages.MOST_APPROVALS,)),
    (f"accepted and not ended, at most {N})", (messages.MOST_OPEN,)),
    (f"the oldest first (at most {N})", (trust.MOST_SUCCESSIONS,)),
    (f"a `version`, at most {N}", (trust.LATEST_VERSION,)),
    (f"the intermediates (PEM, at most {N})", (trust.MOST_ISSUERS,)),
    (f"`epoch`, `trust_version` and `join_number` at {N}, `next_event` at {N}",
     (messages.LATEST_EPOCH, messages.LATEST_EVENT)),
    (f"At most {N} commands are delivered", (lane.IN_FLIGHT,)),
    (f"every open WebSocket again each {N} seconds", (admission.RECHECK,)),
    (f"answers a WebSocket PING within {N} seconds", (relay.ALIVE_WITHIN,)),
    (f"binary messages (at most {N} bytes each)", (console_nested.MESSAGE_LIMIT,)),
    (f"the other has {N} seconds", (console_nested.LINGER,)),
    (f"no bytes within {N} seconds, or none", (console_nested.FIRST_LIMIT,)),
    (f"none either way for {N}, or in which nobody has shown a certificate or an API key within {N}",
     (console_nested.IDLE_LIMIT, console_nested.PROOF_LIMIT)),
    (f"carries {N} of them to the tunnel port", (console_nested.MOST["tunnel"],)),
    (f"nobody has shown anything yet there are {N}, of one IPv4 address or IPv6 /64 {N}",
     (console_nested.UNPROVEN, console_nested.UNPROVEN_EACH)),
    (f"to the console's API instead, {N} at a time", (console_nested.MOST["api"],)),
    (f"certificate at most {N} WebSockets may be on their way in", (acceptor.MOST_OF_ONE,)),
    (f"TLS that has not come about within {N} seconds", (acceptor.HANDSHAKE_LIMIT,)),
    (f"good for {N} seconds. * `repairs`", (challenge.CHALLENGE_LIFE.total_seconds(),)),
    (f"the same `request` for {N} minutes", (enrolling.SAME_ANSWER_FOR / timedelta(minutes=1),)),
]  # fmt: skip


def rule(words: str) -> str:
    """Return the pattern of words that hold N."""
    return N.join(re.escape(part) for part in words.split(N))


@pytest.mark.parametrize(("words", "wanted"), RULES, ids=[words.replace(N, "N") for words, _ in RULES])
def test_a_number_of_the_page_is_the_codes(words: str, wanted: tuple[float, ...]) -> None:
    found = re.findall(f"(?=({rule(words)}))", TEXT)
    assert len(found) == 1, "the page says this not at all, or twice"
    assert found[0][1:] == tuple(f"{number:.0f}" for number in wanted)


def test_no_number_of_the_page_is_left_unchecked() -> None:
    rest = TEXT
    for words, _ in RULES:
        rest = re.sub(rule(words), lambda found: found[0].replace("`", ""), rest)
    assert re.findall(f".{{0,60}}{N}.{{0,20}}", rest) == []


@pytest.mark.parametrize(
    "said",
    [
        handshake.SUBPROTOCOL,
        channel.SUBPROTOCOL,
        nested.SUBPROTOCOL,
        console_nested.SUBPROTOCOL,
        user_tunnel.PATH,
        f"| {relay.REFUSED} | console | this gateway may not connect",
        f"| {relay.REPLACED} | console | the same gateway has connected again",
        f"| {relay.BROKEN} | console | a command message",
        f"| {relay.TRY_LATER} | console | it cannot serve now",
        f"?{streams.SESSION_PARAMETER}=",
        f"&{streams.LATCH_PARAMETER}=",
        f"1 to {sessions.MOST}, binary",
        f"within {talk.HELLO_LIMIT:.0f} s of the handshake",
        f"within {greeting.WELCOME_LIMIT:.0f} s of hello",
        f"within {lane.ANSWER_LIMIT:.0f} s; what is accepted is on disk",
        f"±{strictjson.LARGEST_INTEGER}",
        f'Ed25519 over "{grants.PURPOSE.rstrip(bytes(1)).decode()}" 00 payload (the first {len(grants.PURPOSE) - 1} ',
        f'"{pairing.DOMAIN.decode()}", URL of the token, token_id',
        f"{tokens.PREFIX} base64url(payload)",
        *[f"{name} {number}" for name, number in {
            "DATA": frames.DATA, "WINDOW_UPDATE": frames.WINDOW, "PING": frames.PING, "GO_AWAY": frames.GO_AWAY,
            "SYN": frames.SYN, "ACK": frames.ACK, "FIN": frames.FIN, "RST": frames.RST,
        }.items()],
    ],
)  # fmt: skip
def test_the_page_says(said: str) -> None:
    assert said in TEXT


def test_the_grants_fields_are_the_pages() -> None:
    assert f"canonical JSON: {', '.join(sorted(grants.Grant.model_fields))}" in TEXT


@pytest.mark.parametrize(
    "model", [streams.UserPreamble, streams.StreamPreamble, streams.StreamReply, messages.Hello, messages.Welcome]
)
def test_every_key_of_a_message_is_on_the_page(model: type[BaseModel]) -> None:
    assert [name for name in model.model_fields if f"`{name}`" not in TEXT] == []


@pytest.mark.parametrize("model", [PairingStart, PairingChallenge, PairingFinish, PairingResult, Hardware])
def test_every_key_of_pairing_is_on_the_page(model: type[BaseModel]) -> None:
    part = TEXT[TEXT.index("## Pairing") : TEXT.index("## Where hashicorp/yamux is looser")]
    assert [name for name in model.model_fields if not re.search(rf"\b{name}\b", part)] == []


def test_every_message_of_the_command_channel_is_on_the_page() -> None:
    kinds = [
        kind
        for adapter in (messages.from_appliance, messages.from_console)
        for kind in adapter.json_schema()["discriminator"]["mapping"]
    ]
    assert [kind for kind in kinds if f"| `{kind}` |" not in TEXT] == []


def test_every_message_of_the_command_channel_has_a_schema() -> None:
    assert schema.every_message() - {model.__name__ for model in schema.MODELS} == set()
