"""This file is how an error becomes an HTTP answer: a status, and the problem as application/problem+json."""

from aiohttp import web
from pydantic import ValidationError

from gateway.console import (
    accounts,
    admission,
    auth,
    confirming,
    enrolling,
    errors,
    limits,
    nested,
    pairing,
    policies,
    recovery,
    renewal,
    rulings,
)
from gateway.console.api import echoes, tunnels, watchers
from gateway.console.store import database, reading
from gateway.contract.problems import Fault, Problem, problem_of
from gateway.identity import authority, challenge, keys
from gateway.identity import pairing as conversation
from gateway.identity import recovery as coming_back
from gateway.kit.errors import GatewayError, Remedy

CONTENT_TYPE = "application/problem+json"


class RequestInvalidError(GatewayError):
    """The request is not what the API takes."""

    code = "request.invalid"
    remedy = Remedy.CALLER

    def __init__(self, message: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(message)
        self.faults = faults


class RequestTooLargeError(GatewayError):
    """The request's body is too large."""

    code = "request.too_large"
    remedy = Remedy.CALLER


class RequestUnreadableError(GatewayError):
    """What was sent is no HTTP request that can be read."""

    code = "request.unreadable"
    remedy = Remedy.CALLER


class EncodingUnknownError(GatewayError):
    """The request's body is encoded in a way that is not taken."""

    code = "request.encoding_unknown"
    remedy = Remedy.CALLER


class ExpectationUnknownError(GatewayError):
    """The request expects something that HTTP does not know."""

    code = "request.expectation_unknown"
    remedy = Remedy.CALLER


class RouteUnknownError(GatewayError):
    """The API has no such path."""

    code = "request.unknown_route"
    remedy = Remedy.CALLER


class MethodUnknownError(GatewayError):
    """The path does not take this method."""

    code = "request.unknown_method"
    remedy = Remedy.CALLER


class UpgradeMissingError(GatewayError):
    """The path is a WebSocket's, and the request does not ask for one."""

    code = "request.upgrade_missing"
    remedy = Remedy.CALLER


STATUS: dict[type[GatewayError], int] = {
    accounts.SealedAccountChangedError: 409,
    accounts.SealedAccountUnknownError: 404,
    accounts.SealingKeyChangedError: 409,
    accounts.SealingKeyMissingError: 409,
    accounts.TooManyAccountsError: 409,
    admission.GatewayQuarantinedError: 403,
    admission.GatewayRevokedError: 403,
    auth.NotSignedInError: 401,
    authority.RequestRefusedError: 422,
    challenge.ChallengeStaleError: 409,
    confirming.NothingToConfirmError: 409,
    confirming.WordsDifferError: 409,
    conversation.ProofWrongError: 403,
    database.StoreConflictError: 409,
    database.StoreUnavailableError: 503,
    errors.AuditEntryUnknownError: 404,
    errors.ClusterBeingDeletedError: 409,
    errors.ClusterCannotMoveError: 409,
    errors.ClusterUnknownError: 404,
    errors.CommandTooLargeError: 422,
    errors.CommandUnknownError: 404,
    errors.CommandOverError: 409,
    errors.CommandOnItsWayError: 409,
    errors.GatewayAwayError: 503,
    errors.GatewayInUseError: 409,
    errors.GatewayNameTakenError: 409,
    errors.GatewayNotActiveError: 409,
    errors.GatewayUnknownError: 404,
    errors.ProjectUnknownError: 404,
    errors.TargetUnknownError: 404,
    errors.TokenUnknownError: 404,
    keys.KeyUnreadableError: 422,
    limits.TooOftenError: 429,
    nested.AlreadyInsideError: 409,
    nested.TooManyNestedError: 503,
    policies.ProposalInvalidError: 422,
    pairing.PairingTokenExpiredError: 410,
    pairing.PairingTokenRevokedError: 410,
    pairing.PairingTokenUnknownError: 404,
    enrolling.PairingTokenUsedError: 409,
    coming_back.RecoveryProofWrongError: 403,
    recovery.RecoveryNeedsApprovalError: 403,
    renewal.ClonedError: 403,
    renewal.JoinRefusedError: 403,
    rulings.GatewayWasRevokedError: 409,
    EncodingUnknownError: 415,
    ExpectationUnknownError: 417,
    MethodUnknownError: 405,
    RequestInvalidError: 422,
    RequestTooLargeError: 413,
    RequestUnreadableError: 400,
    RouteUnknownError: 404,
    UpgradeMissingError: 426,
    echoes.TooManyEchoesError: 503,
    tunnels.TooManyTunnelsError: 503,
    reading.RecordUnreadableError: 500,
    watchers.TooManyWatchersError: 503,
}


def status_of(kind: type[GatewayError]) -> int:
    """Return the HTTP status of an error; 500 for one that no route should let through."""
    return STATUS.get(kind, 500)


def invalid(fault: ValidationError, *, part: str) -> RequestInvalidError:
    """Return what is wrong with one part of a request (path, query or body), spot by spot."""
    faults = tuple(Fault(where=list(one["loc"]), message=_plain(one["msg"])) for one in fault.errors(include_url=False))
    first = faults[0]
    where = ".".join(str(step) for step in first.where)
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return RequestInvalidError(f"the {part} is not valid: {where + ': ' if where else ''}{first.message}{more}", faults)


def answer(error: GatewayError) -> web.Response:
    """Return the HTTP answer for an error."""
    problem = problem_of(error)
    if isinstance(error, RequestInvalidError):
        problem = problem.model_copy(update={"faults": list(error.faults[:100])})
    headers = {}
    if isinstance(error, auth.NotSignedInError):
        headers["WWW-Authenticate"] = "Bearer"
    if isinstance(error, limits.TooOftenError):
        headers["Retry-After"] = str(error.facts["retry_after"])
    return response(problem, status=status_of(type(error)), headers=headers)


def response(problem: Problem, *, status: int, headers: dict[str, str] | None = None) -> web.Response:
    """Return a problem as an HTTP answer."""
    body = problem.model_dump_json(exclude_defaults=False).encode()
    return web.Response(body=body, status=status, content_type=CONTENT_TYPE, headers=headers)


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")[:2000]
