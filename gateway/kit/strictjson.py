"""This file is how JSON from a peer is read when two readers must never see two things in it.

The usual parsers take the last of two equal keys, read numbers that others round, and follow any depth. What is read
here means one thing only: no key twice, no number that a double cannot hold exactly, no half of a surrogate pair.
"""

import json
import math
import re
from typing import NoReturn

from gateway.kit.errors import GatewayError

LARGEST_INTEGER = 2**53 - 1
"""The largest integer that every JSON reader holds exactly (RFC 8259, 6)."""
LONGEST_INTEGER = 17
LONGEST_FLOAT = 40
SIGN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A whole string, to the end of the text if nothing ends it, or what opens or closes: each letter is looked at once."""


class NotStrictJsonError(GatewayError):
    """Text from the other side is no JSON, or JSON that could be read in two ways."""

    code = "json.not_strict"


def parse_strict_json(content: bytes, *, limit: int, depth: int = 4) -> object:
    """Return what `content` says. Raises NotStrictJsonError, for more than `limit` bytes before reading any of them.

    `depth` is how many objects and lists may be open at once.
    """
    if len(content) > limit:
        raise NotStrictJsonError(f"this is {len(content)} bytes of JSON where {limit} are allowed")
    try:
        text = content.decode()
        _refuse_depth(text, depth)
        found = json.loads(
            text, object_pairs_hook=_object, parse_constant=_constant, parse_int=_integer, parse_float=_float
        )
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair has no UTF-8
    except (ValueError, RecursionError) as fault:  # UnicodeError and JSONDecodeError are ValueErrors
        raise NotStrictJsonError("this is no JSON that can be read in one way only") from fault
    return found


def write_canonical_json(document: object) -> bytes:
    """Return `document` as the one text that stands for it: sorted keys, no space, ASCII. ValueError for NaN."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _refuse_depth(text: str, depth: int) -> None:
    """Count what is open before the parser recurses into it."""
    opened = 0
    for found in SIGN.finditer(text):
        sign = found[0][0]
        opened += {"[": 1, "{": 1, "]": -1, "}": -1}.get(sign, 0)
        if opened > depth:
            raise ValueError("too deep")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_INTEGER or abs(number := int(digits)) > LARGEST_INTEGER:
        raise ValueError("an integer is too large to be held exactly")
    return number


def _float(digits: str) -> float:
    if len(digits) > LONGEST_FLOAT or not math.isfinite(number := float(digits)):
        raise ValueError("a number is too large or too long")
    return number
