"""This file is how an HTTP answer is read: whole, however it arrives, and no further than a limit."""

from aiohttp import ClientResponse

from gateway.kit.errors import GatewayError, Remedy


class AnswerTooLargeError(GatewayError):
    """An answer over HTTP is larger than anything we would have asked for."""

    code = "http.answer_too_large"
    remedy = Remedy.OPERATOR


async def read_whole(response: ClientResponse, *, limit: int) -> bytes:
    """Return the answer's body. Raises AnswerTooLargeError beyond `limit` bytes, aiohttp's errors when it is cut."""
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > limit:
            raise AnswerTooLargeError(
                f"the answer of {response.url.host} is over {limit} bytes: is something else listening there?",
                limit=limit,
            )
    return bytes(body)
