"""This file is the console as a whole: its parts, opened in order, run side by side, closed in reverse."""

import asyncio
import resource
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from gateway.console import attesting, auth
from gateway.console.accounts import Accounts
from gateway.console.admission import Entrance
from gateway.console.api.application import application
from gateway.console.api.door import Runner, Site
from gateway.console.api.routes import Rooms
from gateway.console.api.watchers import Watchers
from gateway.console.attesting import Notary
from gateway.console.auth import Doorkeeper
from gateway.console.bells import Bells
from gateway.console.confirming import Confirming
from gateway.console.custody import Custody
from gateway.console.enrolling import House
from gateway.console.fleet import Fleet
from gateway.console.granting import Issuer
from gateway.console.latches import Latches
from gateway.console.nested import Nested
from gateway.console.pairing import Pairing
from gateway.console.policies import Policies
from gateway.console.recovery import Recovery
from gateway.console.relay import Relay
from gateway.console.renewal import Renewal
from gateway.console.rulings import Rulings
from gateway.console.sessions import Sessions
from gateway.console.settings import ConsoleSettings
from gateway.console.signing import Keys
from gateway.console.store import doors, people
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.console.streams import Streams, refuse_inbound
from gateway.console.talk import Desk
from gateway.console.tokens import Tokens
from gateway.contract.messages import MESSAGE_LIMIT
from gateway.identity import keys
from gateway.identity.authority import Authority
from gateway.identity.challenge import Challenger
from gateway.identity.grants import GrantKey
from gateway.identity.pairing import Server
from gateway.identity.pinned import read_authority
from gateway.kit import files, supervise
from gateway.kit.clock import Clock, SystemClock
from gateway.kit.errors import GatewayError, Remedy
from gateway.tunnel.acceptor import Lobby, accepting
from gateway.tunnel.dataline import DataEnd
from gateway.tunnel.limits import Limits

log = structlog.get_logger(__name__)

SESSION_BUDGET = 32 * 1024 * 1024
"""Bytes that one data session may have brought and nobody has taken yet."""
DESCRIPTORS = 65_536
"""Open files that are enough for every connection that is taken at a time."""
FIRST_TENANT = "default"
FIRST_PROJECT = "default"
FIRST_USER = "admin"


class PortTakenError(GatewayError):
    """A port the console should listen on cannot be had."""

    code = "console.port_taken"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a running console is reached."""

    api: str
    tunnel: str
    pin: str
    """What people compare when they sign in for the first time."""


async def run(settings: ConsoleSettings) -> None:
    """Run the console until SIGTERM or SIGINT.

    Raises AlreadyRunningError, DirectoryNotPrivateError, PortTakenError or StoreUnavailableError.
    """
    take_descriptors()
    async with running(settings, clock=SystemClock()) as reached, asyncio.TaskGroup() as group:
        group.create_task(supervise.until_asked_to_stop(), name="stop")
        # One turn of the loop, and the signals are heeded: who reads "ready" may send one at once.
        await asyncio.sleep(0)
        key = str(settings.state / "admin.key")
        log.info("console ready", api=reached.api, tunnel=reached.tunnel, pin=reached.pin, admin_key=key)
    log.info("console stopped")


@asynccontextmanager
async def running(settings: ConsoleSettings, *, clock: Clock) -> AsyncIterator[Reached]:
    """Run a console while the body runs and say where it is reached."""
    state = files.make_private_directory(settings.state)
    with files.only_one(state):
        authority = Authority.open(state / "authority", now=clock.now())
        custody = await asyncio.to_thread(Custody, settings, authority, clock=clock)
        async with (
            Store.open(settings.database_url) as store,
            attesting.opened(store, state, clock=clock) as notary,
        ):
            await _move_in(store, state, clock)
            bells = Bells()
            grant_key = GrantKey.keep(state / "grant.key")
            entrance = Entrance(store, authority.vouches_for, clock)
            issuer = Issuer(authority, _kept_secret(state / "join.secret"))
            latches = Latches(_kept_secret(state / "join.secret"))
            desk = Desk(
                store=store,
                bells=bells,
                entrance=entrance,
                renewal=Renewal(store, issuer, clock=clock),
                trusted=custody,
                grant_key=grant_key.public_text,
                clock=clock,
                keys=Keys(state / "command-keys", clock=clock),
                accounts=Accounts(store, bells, clock=clock),
                policies=Policies(store, bells, clock=clock),
                latches=latches,
            )
            relay = Relay(desk)
            streams = Streams(store, Sessions(entrance, latches), grant_key, clock=clock)
            nested = Nested()
            lobby = Lobby(on_caller=nested.proves)
            with _listening(settings.listen, settings.api_port) as door:
                async with _tunnel_end(settings, custody, relay, streams, lobby=lobby) as tunnel_port:
                    reached = _reached(settings, authority, door=door, tunnel_port=tunnel_port)
                    nested.doors |= _doors(settings.listen, tunnel=tunnel_port, api=door.getsockname()[1])
                    rooms = _rooms(
                        store,
                        bells,
                        authority,
                        streams,
                        nested=nested,
                        notary=notary,
                        reached=reached,
                        settings=settings,
                        clock=clock,
                    )
                    parts = {"custody": custody.run(), "notary": notary.run()}
                    async with _serving(rooms, door, settings, custody), supervise.running(**parts):
                        try:
                            yield reached
                        finally:
                            lobby.draining.set()
                            await streams.sessions.drain(within=settings.grace)


def take_descriptors() -> None:
    """Have the system let us open as many files as it may, up to DESCRIPTORS: a connection is one, or three."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wished = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wished:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wished, hard))
        soft = wished
    log.info("open files allowed", files=soft)


def _doors(listen: str, **ports: int) -> dict[str, tuple[str, int]]:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen, listen)  # noqa: S104 - we call ourselves
    return {name: (host, port) for name, port in ports.items()}


def _rooms(  # noqa: PLR0913 - what all the handlers work with
    store: Store,
    bells: Bells,
    authority: Authority,
    streams: Streams,
    *,
    nested: Nested,
    notary: Notary,
    reached: Reached,
    settings: ConsoleSettings,
    clock: Clock,
) -> Rooms:
    state = settings.state
    challenger = Challenger(_kept_secret(state / "pairing.secret"), purpose="pairing")
    commanding = Keys(state / "command-keys", clock=clock)
    house = House(
        authority,
        lambda: _servers(settings, authority, reached),
        reached.tunnel,
        _kept_secret(state / "join.secret"),
        lambda: commanding.ring().public,
    )
    return Rooms(
        store=store,
        fleet=Fleet(store, bells, clock=clock),
        pairing=Pairing(store, house, challenger, bells, clock=clock),
        recovery=Recovery(
            store,
            house,
            Challenger(_kept_secret(state / "pairing.secret"), purpose="recovery"),
            bells,
            budget=settings.recoveries,
            clock=clock,
        ),
        rulings=Rulings(store, bells, clock=clock),
        accounts=Accounts(store, bells, clock=clock),
        policies=Policies(store, bells, clock=clock),
        tokens=Tokens(store, url=reached.api, pins=lambda: authority.pins, clock=clock),
        confirming=Confirming(store, bells, clock=clock),
        doorkeeper=Doorkeeper(store, clock=clock),
        authority=authority,
        watchers=Watchers(bells),
        streams=streams,
        nested=nested,
        notary=notary,
        clock=clock,
    )


def _servers(settings: ConsoleSettings, authority: Authority, reached: Reached) -> list[Server]:
    """Return who the console is to an appliance that pairs: under each of its names, below each of its roots."""
    key = keys.spki_digest(keys.read(settings.state / "server.key").public_key()).hex()
    pins = [read_authority(root, source="the console").pin for root in authority.trust.roots]
    port = reached.api.rpartition(":")[2]
    return [Server(_url(host, port), pin, key) for host in settings.hosts for pin in pins]


def _url(host: str, port: int | str) -> str:
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


async def _move_in(store: Store, state: Path, clock: Clock) -> None:
    """Make the first tenant, its project and an administrator's key, unless they are there."""
    now = clock.now()
    scope = Scope(await doors.tenant_named(store, FIRST_TENANT, now=now))
    async with store.writing(scope) as rows:
        await people.ensure_project(rows, FIRST_PROJECT, now=now)
        user = await people.ensure_user(rows, FIRST_USER, now=now)
        if await people.has_keys(rows):
            return
        key = auth.new_key()
        await auth.remember(rows, user, key, name="first key", now=now)
        # Before the commit: cut between the two, the next start makes another key and writes it here.
        await asyncio.to_thread(files.write_whole, state / "admin.key", f"{key.text}\n".encode())


@asynccontextmanager
async def _tunnel_end(
    settings: ConsoleSettings,
    custody: Custody,
    relay: Relay,
    streams: Streams,
    *,
    lobby: Lobby,
) -> AsyncIterator[int]:
    async with AsyncExitStack() as stack:
        end = accepting(
            settings.listen,
            settings.tunnel_port,
            tls=custody.tunnel,
            on_channel=relay.serve,
            data=DataEnd(streams.sessions.serve, refuse_inbound, Limits(budget=SESSION_BUDGET)),
            message_limit=MESSAGE_LIMIT,
            lobby=lobby,
        )
        try:
            port = await stack.enter_async_context(end)
        except OSError as fault:
            raise _taken(settings.listen, settings.tunnel_port, fault) from fault
        yield port


@asynccontextmanager
async def _serving(
    rooms: Rooms, door: socket.socket, settings: ConsoleSettings, custody: Custody
) -> AsyncIterator[None]:
    runner = Runner(application(rooms), shutdown_timeout=settings.grace)
    await runner.setup()
    try:
        await Site(runner, door, ssl_context=custody.api).start()
        yield
    finally:
        await runner.cleanup()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as fault:
        raise _taken(host, port, fault) from fault


def _taken(host: str, port: int, fault: OSError) -> PortTakenError:
    return PortTakenError(
        f"cannot listen on {host} port {port}: {fault.strerror or fault}; stop what does, or choose another port",
        port=port,
    )


def _reached(settings: ConsoleSettings, authority: Authority, *, door: socket.socket, tunnel_port: int) -> Reached:
    host = f"[{settings.hosts[0]}]" if ":" in settings.hosts[0] else settings.hosts[0]
    port = door.getsockname()[1]
    return Reached(
        f"https://{host}:{port}",
        f"wss://{host}:{tunnel_port}/",
        read_authority(authority.root, source="the console").pin_text,
    )


def _kept_secret(path: Path) -> bytes:
    if not path.exists():
        files.write_whole(path, secrets.token_bytes(32))
    return path.read_bytes()
