"""This file is the root of every error: a stable code, one sentence, and who can help."""

from enum import StrEnum
from typing import ClassVar


class Remedy(StrEnum):
    """Who can mend an error."""

    CALLER = "caller"
    """Whoever asked: the request itself is wrong."""
    OPERATOR = "operator"
    """Whoever runs the data centre or the console: something around us is wrong."""
    RETRY = "retry"
    """Time: the same request may succeed later."""
    DEVELOPER = "developer"
    """Us: this is a defect."""


class GatewayError(Exception):
    """Something went wrong in a way that has a name.

    Subclasses stand beside the code that raises them and set `code` and `remedy`. The message is one
    sentence for a person and names the way out; `facts` are the same facts for a program. Neither may
    ever hold a secret.
    """

    code: ClassVar[str] = "internal.error"
    remedy: ClassVar[Remedy] = Remedy.DEVELOPER

    def __init__(self, message: str = "", **facts: str | float | None) -> None:
        self.message = message or (type(self).__doc__ or self.code).strip().splitlines()[0]
        self.facts = facts
        super().__init__(self.message)


def every_error_class() -> list[type[GatewayError]]:
    """Return all error classes imported so far, sorted by code; the documentation is checked against it."""
    found: set[type[GatewayError]] = set()
    waiting: list[type[GatewayError]] = [GatewayError]
    while waiting:
        current = waiting.pop()
        found.add(current)
        waiting.extend(current.__subclasses__())
    return sorted(found, key=lambda one: (one.code, one.__name__))
