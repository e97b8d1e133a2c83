"""This file is how an error crosses a wire: a stable code, a sentence, and who can help (after RFC 9457)."""

from pydantic import Field

from gateway.contract.shapes import Report, Sentence
from gateway.kit.errors import GatewayError, Remedy


class Fault(Report):
    """One wrong spot in a request."""

    where: list[str | int] = Field(description="path to the value, outermost key first")
    message: Sentence = Field(description="what is wrong with it")


class Problem(Report):
    """An error as the other side sees it."""

    code: str = Field(max_length=100, description="stable name of the error, such as vsphere.template_missing")
    message: Sentence = Field(description="one sentence that names the way out")
    remedy: Remedy = Field(description="who can mend it")
    facts: dict[str, str | float | None] = Field(default_factory=dict, description="the same facts for a program")
    faults: list[Fault] = Field(default_factory=list, description="each wrong spot, when the request was not valid")


class RelayedError(GatewayError):
    """Somebody else has met an error and told us."""

    code = "relayed.error"

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem_of(error: GatewayError) -> Problem:
    """Return `error` in the shape in which it crosses a wire, a relayed one as it came; long text is cut."""
    if isinstance(error, RelayedError):
        return error.problem
    return Problem(code=error.code, message=error.message[:2000], remedy=error.remedy, facts=dict(error.facts))
