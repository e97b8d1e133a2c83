"""This file is what may have happened after bytes came in or went out: the words the mux answers with."""

from typing import NamedTuple, TypeAlias

from gateway.tunnel.frames import Bytes, Reset


class Opened(NamedTuple):
    """The peer opened a stream."""

    stream: int


class Data(NamedTuple):
    """The peer sent data on a stream; say `read` when it was read."""

    stream: int
    payload: Bytes


class Ended(NamedTuple):
    """The peer sends no more data on a stream."""

    stream: int


class WasReset(NamedTuple):
    """A stream was cut."""

    stream: int
    reason: Reset
    here: bool = False
    """Whether it was this end that cut it."""


class Room(NamedTuple):
    """A stream whose queue was full takes data again."""

    stream: int


class Gone(NamedTuple):
    """A stream is over: both directions have ended, nothing of it waits to be sent, and what came was read."""

    stream: int


class GoneAway(NamedTuple):
    """The peer opens no more streams and takes none."""

    code: int


Happening: TypeAlias = Opened | Data | Ended | WasReset | Room | Gone | GoneAway
