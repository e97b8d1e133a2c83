"""This file is what a session needs of the road that carries it: whole messages out, pieces of a byte stream in."""

from typing import Protocol

from gateway.tunnel.frames import Bytes


class Carrier(Protocol):
    """One open WebSocket, whoever frames it."""

    @property
    def writable(self) -> bool:
        """False while the network takes no more; `Receiver.writable_again` tells when it does."""

    @property
    def peer_certificate(self) -> bytes:
        """The peer's verified certificate in DER; empty when it showed none."""

    @property
    def peer_address(self) -> str:
        """Where the peer calls from, for logs."""

    def begin(self, receiver: "Receiver") -> None:
        """Tell the receiver everything from now on."""

    def send(self, pieces: list[Bytes]) -> None:
        """Send one binary message made of these pieces."""

    def rest(self, seconds: float) -> None:
        """Take nothing from the network for so long; what is read already still comes."""

    def close(self, code: int, reason: str = "") -> None:
        """Say good-bye with a close code of RFC 6455 and close soon after; safe to call twice."""

    def abort(self) -> None:
        """Close at once, without a word."""


class Receiver(Protocol):
    """What a carrier tells: a session."""

    def received(self, message: bytes) -> None:
        """The next bytes from the peer. Never raises."""

    def heard(self) -> None:
        """Something came, if only a part of what `received` will get."""

    def writable_again(self) -> None:
        """The network takes data again."""

    def lost(self, reason: str) -> None:
        """The carrier is closed; nothing comes any more."""
