"""This file is what a route is: one entry of the table that drives routing, checking and the OpenAPI document."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from aiohttp import web
from pydantic import BaseModel

from gateway.console.accounts import Accounts
from gateway.console.api.echoes import Echoes
from gateway.console.api.tunnels import Tunnels
from gateway.console.api.watchers import Watchers
from gateway.console.attesting import Notary
from gateway.console.auth import Doorkeeper
from gateway.console.confirming import Confirming
from gateway.console.fleet import Fleet
from gateway.console.nested import Nested, Peer
from gateway.console.pairing import Pairing
from gateway.console.policies import Policies
from gateway.console.records import Caller, Project
from gateway.console.recovery import Recovery
from gateway.console.rulings import Rulings
from gateway.console.store.database import Store
from gateway.console.store.scope import Scope
from gateway.console.streams import Streams
from gateway.console.tokens import Tokens
from gateway.identity.authority import Authority
from gateway.kit.clock import Clock
from gateway.kit.errors import GatewayError


class RouteMisdeclaredError(GatewayError):
    """A handler wants what its route does not ask for."""

    code = "internal.route_misdeclared"


P = TypeVar("P", bound=BaseModel)
Q = TypeVar("Q", bound=BaseModel)
B = TypeVar("B", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the API's handlers work with."""

    store: Store
    fleet: Fleet
    pairing: Pairing
    recovery: Recovery
    rulings: Rulings
    tokens: Tokens
    confirming: Confirming
    accounts: Accounts
    policies: Policies
    doorkeeper: Doorkeeper
    authority: Authority
    watchers: Watchers
    streams: Streams
    nested: Nested
    notary: Notary
    clock: Clock
    echoes: Echoes = field(default_factory=Echoes)
    tunnels: Tunnels = field(default_factory=Tunnels)


@dataclass(frozen=True, slots=True)
class Call(Generic[P, Q, B]):
    """One request, parsed. `caller` and `project` are there when the route asks for a key and names a project."""

    rooms: Rooms
    request: web.Request
    path: P
    query: Q
    body: B
    known_caller: Caller | None
    known_project: Project | None

    @property
    def caller(self) -> Caller:
        """Who asks."""
        if self.known_caller is None:
            raise RouteMisdeclaredError("the route asks for no key, so nobody is known")
        return self.known_caller

    @property
    def project(self) -> Project:
        """The project that the path names."""
        if self.known_project is None:
            raise RouteMisdeclaredError("the path names no project")
        return self.known_project

    @property
    def scope(self) -> Scope:
        """Whose rows the call may see."""
        return Scope(self.caller.tenant, self.known_project.id if self.known_project else None)

    @property
    def address(self) -> str:
        """Where the request comes from."""
        return address_of(self.request, self.rooms)

    @property
    def is_inside(self) -> bool:
        """Tell whether it comes from inside a WebSocket."""
        return self.rooms.nested.outside(peer_of(self.request)) is not None


def peer_of(request: web.Request) -> Peer:
    """Return the other end of a request's connection, also of one that has gone meanwhile."""
    peer = request._transport_peername  # noqa: SLF001 - the transport forgets it
    return (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) else ("unknown", 0)


def address_of(request: web.Request, rooms: Rooms) -> str:
    """Return the address that whoever asks really has: inside a WebSocket, that of who opened it."""
    peer = peer_of(request)
    return rooms.nested.outside(peer) or peer[0]


Answer = BaseModel | web.StreamResponse | None
Handler = Callable[[Call[Any, Any, Any]], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One entry of the table.

    What it takes and answers is what its handler's signature says: the models of path, query and body, and of the
    answer. `errors` are those the document names beside what every route may answer.
    """

    method: str
    path: str
    operation: str
    handler: Handler
    status: int = 200
    public: bool = False
    errors: tuple[type[GatewayError], ...] = ()

    @property
    def shape(self) -> "Shape":
        """The models of the route."""
        hints = get_type_hints(self.handler)
        answer = hints.pop("return")
        (call,) = hints.values()
        path, query, body = get_args(call)
        return Shape(path, query, body, answer)

    @property
    def summary(self) -> str:
        """What the route does, in a few words."""
        return (self.handler.__doc__ or "").strip().splitlines()[0].rstrip(".")


@dataclass(frozen=True, slots=True)
class Shape:
    """The models of one route."""

    path: type[BaseModel]
    query: type[BaseModel]
    body: type[BaseModel]
    answer: type[BaseModel] | type[web.StreamResponse] | type[None]

    @property
    def names_project(self) -> bool:
        """Tell whether the path names a project."""
        return "project" in self.path.model_fields
