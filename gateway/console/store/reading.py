"""This file is how kept documents are read back, and what is said of one that this version cannot read any more.

What was valid when it was written may not be valid by a stricter contract. Such a row is named and left alone;
it never stops the reading of others.
"""

from typing import TypeVar

import structlog
from pydantic import BaseModel, ValidationError

from gateway.contract.problems import Problem, problem_of
from gateway.kit.errors import GatewayError, Remedy

log = structlog.get_logger(__name__)
M = TypeVar("M", bound=BaseModel)


class RecordUnreadableError(GatewayError):
    """Something the console has kept cannot be read by this version of it."""

    code = "console.record_unreadable"
    remedy = Remedy.OPERATOR


def read(model: type[M], document: object, *, what: str) -> M:
    """Return a kept document as its model. Raises RecordUnreadableError."""
    try:
        return model.model_validate(document)
    except ValidationError as fault:
        raise unreadable(what) from fault


def read_problem(document: object, *, what: str) -> Problem | None:
    """Return a kept problem; one that cannot be read is replaced by one that says so."""
    if not document:
        return None
    try:
        return read(Problem, document, what=what)
    except RecordUnreadableError as fault:
        return problem_of(fault)


def unreadable(what: str) -> RecordUnreadableError:
    """Return the error for something that cannot be read."""
    return RecordUnreadableError(
        f"{what} was kept by another version of the console and cannot be read by this one: run the version that wrote "
        "it, or remove its gateway together with its clusters",
        what=what,
    )
