"""This file is what a registration token says, without the secret that is in it."""

from datetime import datetime

from pydantic import AwareDatetime, BaseModel, Field

from gateway.identity import tokens


class Inspected(BaseModel):
    """What a registration token says, but for its secret."""

    id: str
    console: str = Field(description="where the appliance will call")
    pins: list[str] = Field(description="the authorities it will believe, each by the SHA-256 of its key")
    expires_at: AwareDatetime
    expired: bool = Field(description="by this machine's clock")
    repairs: bool = Field(description="whether it pairs a gateway anew that is there already")


def inspected(text: str, *, now: datetime) -> Inspected:
    """Return what a token says, but for its secret. Raises TokenMangledError."""
    token = tokens.parse(text)
    return Inspected(
        id=token.id,
        console=token.url,
        pins=[f"sha256:{pin.hex()}" for pin in token.pins],
        expires_at=token.expires_at,
        expired=now >= token.expires_at,
        repairs=token.repairs,
    )
