"""This file is one data session: the mux on a carrier, its streams, and the watch over a peer that may be gone.

The carrier calls in; nothing here ever waits on the way, so that one stream can never hold up another.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeAlias

import structlog

from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel import frames
from gateway.tunnel.carrier import Carrier
from gateway.tunnel.frames import GoAway, ProtocolBrokenError, Reset
from gateway.tunnel.happenings import Gone, GoneAway, Happening, Opened
from gateway.tunnel.limits import LAST_ID, MESSAGE, PREAMBLE, RENEWED_AT, REPLY, Limits
from gateway.tunnel.liveness import DEAD, QUIET, Look, Pulse
from gateway.tunnel.mux import Mux
from gateway.tunnel.schedule import Lane
from gateway.tunnel.stream import BlockBrokenError, Stream, StreamResetError, block, tell

log = structlog.get_logger(__name__)

PREAMBLE_LIMIT = 5.0
OPEN_LIMIT = 10.0
DRAIN_LIMIT = 600.0
CLOSE_LIMIT = 10.0
"""Seconds after which a carrier that is told to close is not waited for any more; its own limit is shorter."""
TAIL_LIMIT = 5.0
"""Seconds in which a target may take the rest of streams that were ended, once the session is over."""
LINGER_LIMIT = 300.0
"""Seconds in which the peer may take the rest of a stream that both ends have ended."""
ASK_EVERY = 30.0
"""Seconds between questions to a peer that only sends: its answers tell how far it is, and so how windows may grow."""
MESSAGES_A_TURN = 8
SHORTEST_REST, LONGEST_REST = 0.01, 5.0
"""Seconds in which nothing is read from a peer whose frames are many and small; well below what liveness bears."""

OnStream: TypeAlias = Callable[[Stream, bytes], Awaitable[None]]
"""Called in a task of its own for each stream the peer opens, with its preamble; it must answer or reset."""


class SessionClosedError(GatewayError):
    """The data session is closed."""

    code = "tunnel.session_closed"
    remedy = Remedy.RETRY


class StreamRefusedError(GatewayError):
    """The other side refused the stream before it said why."""

    code = "tunnel.stream_refused"
    remedy = Remedy.RETRY

    def __init__(self, message: str, reason: Reset) -> None:
        super().__init__(message, reason=reason.name.lower())
        self.reason = reason


class Session:
    """Many streams on one carrier. `running` makes one."""

    def __init__(self, carrier: Carrier, *, dialler: bool, limits: Limits) -> None:
        self._loop = asyncio.get_running_loop()
        self.carrier = carrier
        self.mux = Mux(dialler=dialler, now=self._loop.time(), limits=limits)
        self.going_away = asyncio.Event()
        """Set when no new streams are taken: the peer said so, or we do."""
        self.worn = asyncio.Event()
        """Set when stream ids run low: whoever dialled should make the next session and then drain this one."""
        self._group: asyncio.TaskGroup | None = None
        self._on_stream: OnStream = _nothing_here
        self._serving: dict[Stream, asyncio.Task[None]] = {}
        # A stream is gone once it is reset, who serves it a moment later: opened and reset in one breath they pile up.
        self._most_served = limits.streams + limits.unanswered
        self._streams: dict[int, Stream] = {}
        self._flush_due = False
        self._heard_at = self._loop.time()
        self._asked_at = self._heard_at
        self._stuck_since: float | None = None
        self._over: asyncio.Future[GatewayError] = self._loop.create_future()
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._idle = asyncio.Event()
        self._idle.set()

    # -- for people

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER; empty when it showed none."""
        return self.carrier.peer_certificate

    @property
    def peer_address(self) -> str:
        """Where the peer calls from, for logs."""
        return self.carrier.peer_address

    async def open(
        self, preamble: bytes, *, lane: Lane = Lane.AUTO, within: float = OPEN_LIMIT
    ) -> tuple[Stream, bytes]:
        """Open a stream and return it with the other side's answer to the preamble.

        Raises StreamRefusedError, NoMoreStreamsError or SessionClosedError, within `within` seconds.
        """
        if self._over.done():
            raise self._over.result().with_traceback(None)
        content = block(preamble)
        stream = self._new(self.mux.open(lane, self.now()))
        stream.offer(content)
        reply: bytes | None = None
        try:
            async with asyncio.timeout(within):
                reply = await stream.read_block(REPLY)
        except TimeoutError as fault:
            raise StreamRefusedError(f"the other side did not answer within {within:g} s", Reset.TIMEOUT) from fault
        except (StreamResetError, BlockBrokenError) as fault:
            reason = fault.reason if isinstance(fault, StreamResetError) else Reset.INTERNAL
            raise StreamRefusedError(
                f"the other side cut the stream: {reason.name.lower().replace('_', ' ')}", reason
            ) from fault
        finally:
            if reply is None:
                stream.reset(Reset.CANCELLED)
        return stream, reply

    async def closed(self) -> GatewayError:
        """Wait until the session is over and return why."""
        return await asyncio.shield(self._over)

    async def drain(self, *, within: float = DRAIN_LIMIT) -> None:
        """Take and open no more streams, wait for those that are there, and close."""
        self.going_away.set()
        self.mux.go_away()
        self.flush_soon()
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            log.info("streams cut at the end of a drain", streams=self.streams)
        await self.close()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close and wait until it is done."""
        self._flush()
        self.carrier.close(code, reason)
        try:
            await self.closed()
            await asyncio.wait({self._lost}, timeout=CLOSE_LIMIT)
        except asyncio.CancelledError:
            self.carrier.abort()
            raise

    # -- for streams

    def now(self) -> float:
        """Seconds of the loop's clock."""
        return self._loop.time()

    def flush_soon(self) -> None:
        """Send what there is, once this turn of the loop is over."""
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def forget(self, stream: Stream) -> None:
        """The stream is over."""
        if self._streams.pop(stream.id, None) is not None:
            self.flush_soon()

    # -- for the carrier

    def received(self, message: bytes) -> None:
        """The next bytes from the peer."""
        now = self._heard_at = self._loop.time()
        try:
            for each in self.mux.receive(message, now):
                self._handle(each)
        except ProtocolBrokenError as fault:
            log.warning("session broken off", code=fault.code, reason=fault.message)
            self.carrier.send([frames.pack(frames.GO_AWAY, 0, 0, GoAway.PROTOCOL_ERROR)])
            self.carrier.close(1002, fault.message)
            self._end(fault)
            return
        if self.mux.rest:
            self.carrier.rest(min(max(self.mux.rest, SHORTEST_REST), LONGEST_REST))
        self.flush_soon()

    def heard(self) -> None:
        """The peer gave a sign of life."""
        self._heard_at = self._loop.time()
        if not self.carrier.writable:
            self.flush_soon()  # which notes that the peer, alive as it is, takes nothing

    def writable_again(self) -> None:
        """The network takes data again."""
        self._stuck_since = None
        self._flush()

    def lost(self, reason: str) -> None:
        """The carrier is closed."""
        self._end(SessionClosedError(f"the session ended: {reason}"))
        if not self._lost.done():
            self._lost.set_result(None)

    # -- for `running`

    def serve_with(self, group: asyncio.TaskGroup, on_stream: OnStream) -> None:
        """Have the peer's streams served, in tasks of that group."""
        self._group, self._on_stream = group, on_stream

    def end_tasks(self) -> None:
        """Cancel what still serves a stream."""
        for task in list(self._serving.values()):
            task.cancel()

    async def settle(self) -> None:
        """Let targets take the rest of streams that were ended, for a moment, now that the session is over."""
        tails = [task for stream, task in self._serving.items() if stream.over_since is not None]
        if tails:
            await asyncio.wait(tails, timeout=TAIL_LIMIT)
        self.end_tasks()

    def ask(self) -> None:
        """Ask the peer for a sign of life; the first answer tells the round trip, and so how windows may grow."""
        self._asked_at = self.now()
        self.mux.ping(self._asked_at)
        self.flush_soon()

    async def watch(self, quiet: float, dead: float) -> None:
        """Ask a peer that is silent, and give up one that stays so or takes no data."""
        pulse = Pulse(quiet, dead, heard_at=self._heard_at)
        arrived = self.mux.pace.arrived
        while not self._over.done():
            await asyncio.sleep(quiet / 3)
            now = self.now()
            pulse.heard(self._heard_at)
            if self._stuck_since is not None and self.mux.pace.arrived != arrived:
                arrived, self._stuck_since = self.mux.pace.arrived, now  # drop by drop is no standstill
            stuck = now - self._stuck_since if self._stuck_since is not None else 0.0
            look = pulse.look(now)
            if look is Look.DEAD or stuck >= dead:
                self._give_up("is silent" if look is Look.DEAD else "takes no data")
            elif look is Look.ASK:
                pulse.asked(now)
                self.ask()
            elif now - self._asked_at >= ASK_EVERY:
                self.ask()
            self._cut_lingerers(now)

    # -- inside

    def _cut_lingerers(self, now: float) -> None:
        """Cut streams that both ends have ended long ago, and whose peer takes the rest no more."""
        for stream in list(self._streams.values()):
            lingers = stream.over_since is not None and now - stream.over_since > LINGER_LIMIT
            if lingers and self.mux.queued(stream.id):
                self.mux.reset(stream.id, Reset.TIMEOUT)
                stream.was_cut(StreamResetError("the other side does not take the rest", Reset.TIMEOUT))

    def _give_up(self, why: str) -> None:
        self._end(SessionClosedError(f"the session ended: the other side {why}"))
        self.carrier.abort()

    def _begin_to_serve(self, stream: Stream) -> None:
        if self._group is None or len(self._serving) >= self._most_served:
            stream.reset(Reset.BUSY)
            return
        task = self._serving[stream] = self._group.create_task(self._serve(stream), name=f"stream-{stream.id}")
        task.add_done_callback(lambda _: self._serving.pop(stream, None))

    def _handle(self, happening: Happening) -> None:
        match happening:
            case Opened(number):
                self._begin_to_serve(self._new(number))
            case Gone(number):
                if (stream := self._streams.get(number)) is not None:
                    self.forget(stream)
            case GoneAway():
                self.mux.stop_opening()
                self.going_away.set()
            case _:
                if (stream := self._streams.get(happening.stream)) is not None:
                    tell(stream, happening)
                    self._let_go(stream)

    def _let_go(self, stream: Stream) -> None:
        """Stop serving a stream that was cut before it was answered: nobody waits for the answer."""
        if stream.fault is not None and not stream.answered and stream in self._serving:
            self._serving[stream].cancel()

    def _new(self, number: int) -> Stream:
        stream = self._streams[number] = Stream(self, number)
        self._idle.clear()
        if self.mux.last_id >= RENEWED_AT:
            self._wears_out()
        return stream

    def _wears_out(self) -> None:
        """Have a next session made before ids run out; a peer that makes none is told to, while there are some left."""
        self.worn.set()
        if self.mux.last_id >= LAST_ID and not self.going_away.is_set():
            self.going_away.set()
            self.mux.go_away()
            self.flush_soon()

    async def _serve(self, stream: Stream) -> None:
        try:
            async with asyncio.timeout(PREAMBLE_LIMIT):
                preamble = await stream.read_block(PREAMBLE)
        except TimeoutError:
            stream.reset(Reset.TIMEOUT)
            return
        except GatewayError:
            stream.reset(Reset.INTERNAL)
            return
        try:
            await self._on_stream(stream, preamble)
        except Exception as error:
            if error is not stream.fault:
                log.exception("a stream's handler failed", stream=stream.id)
            stream.reset(Reset.INTERNAL)
        except asyncio.CancelledError:
            stream.reset(Reset.CANCELLED)
            raise
        else:
            if not stream.answered:
                stream.reset(Reset.INTERNAL)

    def _flush(self) -> None:
        self._send()
        if not self._streams:
            self._idle.set()

    def _send(self) -> None:
        self._flush_due = False
        for _ in range(MESSAGES_A_TURN):
            if not self.carrier.writable:
                if self._stuck_since is None:
                    self._stuck_since = self.now()
                return
            pieces, happened = self.mux.take(MESSAGE, self.now())
            if pieces:
                self.carrier.send(pieces)
            for each in happened:
                self._handle(each)
            if not pieces:
                return
        self.flush_soon()

    def _end(self, fault: GatewayError) -> None:
        if not self._over.done():
            self._over.set_result(fault)
            self.going_away.set()
            for stream in list(self._streams.values()):
                stream.was_cut(fault)
            self._idle.set()


@asynccontextmanager
async def running(
    carrier: Carrier,
    *,
    dialler: bool,
    on_stream: OnStream | None = None,
    limits: Limits | None = None,
    quiet: float = QUIET,
    dead: float = DEAD,
) -> AsyncIterator[Session]:
    """Run a session on a carrier while the body runs; leaving closes it and ends its streams and their tasks."""
    fault: BaseException | None = None
    async with asyncio.TaskGroup() as group:
        session = Session(carrier, dialler=dialler, limits=limits or Limits())
        session.serve_with(group, on_stream or _nothing_here)
        carrier.begin(session)
        session.ask()
        watch = group.create_task(session.watch(quiet, dead), name="session-watch")
        try:
            yield session
        except BaseException as error:  # noqa: BLE001 - raised again below, outside of the group
            fault = error
        finally:
            await session.close()
            watch.cancel()
            await session.settle()
    if fault is not None:
        raise fault


async def _nothing_here(stream: Stream, _preamble: bytes) -> None:
    stream.reset(Reset.REFUSED_POLICY)
