"""This file is the API: the one table of its routes."""

from gateway.console import (
    accounts,
    admission,
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
from gateway.console.api import accounts as accounts_api
from gateway.console.api import audit as audit_api
from gateway.console.api import authority as authority_api
from gateway.console.api import echo, echoes, enrolment, handlers, identity, nest, problems, streams, tunnel, tunnels
from gateway.console.api import policies as policies_api
from gateway.console.api.routes import Route
from gateway.identity import authority, challenge, keys
from gateway.identity import pairing as conversation
from gateway.identity import recovery as coming_back

TOKEN_ERRORS = (
    pairing.PairingTokenUnknownError,
    pairing.PairingTokenExpiredError,
    pairing.PairingTokenRevokedError,
    errors.GatewayUnknownError,
    limits.TooOftenError,
)
FINISH_ERRORS = (
    *TOKEN_ERRORS,
    enrolling.PairingTokenUsedError,
    errors.GatewayNameTakenError,
    challenge.ChallengeStaleError,
    conversation.ProofWrongError,
    keys.KeyUnreadableError,
    authority.RequestRefusedError,
)
RECOVERY_ERRORS = (
    errors.GatewayUnknownError,
    limits.TooOftenError,
    challenge.ChallengeStaleError,
    coming_back.RecoveryProofWrongError,
    authority.RequestRefusedError,
    admission.GatewayRevokedError,
    admission.GatewayQuarantinedError,
    renewal.JoinRefusedError,
    renewal.ClonedError,
    recovery.RecoveryNeedsApprovalError,
)
RULING_ERRORS = (errors.GatewayUnknownError, rulings.GatewayWasRevokedError)
APPLY_ERRORS = (
    errors.GatewayUnknownError,
    errors.ClusterBeingDeletedError,
    errors.ClusterCannotMoveError,
    errors.CommandTooLargeError,
)


GATEWAY = "/api/v1/gateways/{name}"
ACCOUNTS = GATEWAY + "/accounts"
POLICY = GATEWAY + "/policy"
PROJECT = "/api/v1/projects/{project}"
CLUSTER = PROJECT + "/clusters/{name}"
TOKENS = "/api/v1/registration-tokens"

TABLE = (
    Route("GET", "/healthz", "health", handlers.health, public=True),
    Route("GET", "/api/v1/authority", "showAuthority", authority_api.authority, public=True),
    Route("GET", "/api/v1/authority/successions", "listSuccessions", authority_api.successions, public=True),
    Route("POST", "/api/v1/pairing/start", "startPairing", handlers.start_pairing, public=True, errors=TOKEN_ERRORS),
    Route(
        "POST", "/api/v1/pairing/finish", "finishPairing", handlers.finish_pairing, public=True, errors=FINISH_ERRORS
    ),
    Route(
        "POST",
        "/api/v1/recovery/start",
        "startRecovery",
        identity.start_recovery,
        public=True,
        errors=RECOVERY_ERRORS[:2],
    ),
    Route(
        "POST",
        "/api/v1/recovery/finish",
        "finishRecovery",
        identity.finish_recovery,
        public=True,
        errors=RECOVERY_ERRORS,
    ),
    Route(
        "GET",
        echo.PATH,
        "echo",
        echo.echo,
        status=101,
        public=True,
        errors=(
            limits.TooOftenError,
            echoes.TooManyEchoesError,
            nested.AlreadyInsideError,
            problems.UpgradeMissingError,
        ),
    ),
    Route(
        "GET",
        nest.PATH,
        "openNested",
        nest.open_nested,
        status=101,
        public=True,
        errors=(nested.AlreadyInsideError, nested.TooManyNestedError, problems.UpgradeMissingError),
    ),
    Route("GET", "/api/v1/whoami", "whoAmI", handlers.who_am_i),
    Route("GET", TOKENS, "listRegistrationTokens", handlers.list_tokens),
    Route(
        "POST",
        TOKENS,
        "makeRegistrationToken",
        handlers.make_token,
        status=201,
        errors=(errors.GatewayNameTakenError,),
    ),
    Route(
        "DELETE",
        TOKENS + "/{id}",
        "revokeRegistrationToken",
        handlers.revoke_token,
        status=204,
        errors=(errors.TokenUnknownError,),
    ),
    Route(
        "POST",
        GATEWAY + "/repair-token",
        "makeRepairToken",
        enrolment.make_repair_token,
        status=201,
        errors=(errors.GatewayUnknownError,),
    ),
    Route(
        "POST",
        GATEWAY + "/confirm",
        "confirmGateway",
        enrolment.confirm,
        errors=(errors.GatewayUnknownError, confirming.WordsDifferError, confirming.NothingToConfirmError),
    ),
    Route("POST", GATEWAY + "/revoke", "revokeGateway", identity.revoke, errors=(errors.GatewayUnknownError,)),
    Route("POST", GATEWAY + "/release", "releaseGateway", identity.release, errors=RULING_ERRORS),
    Route("POST", GATEWAY + "/approve-recovery", "approveRecovery", identity.approve_recovery, errors=RULING_ERRORS),
    Route("GET", "/api/v1/gateways", "listGateways", handlers.list_gateways),
    Route("GET", GATEWAY, "showGateway", handlers.show_gateway, errors=(errors.GatewayUnknownError,)),
    Route("GET", GATEWAY + "/targets", "listTargets", handlers.list_targets, errors=(errors.GatewayUnknownError,)),
    Route(
        "GET",
        tunnel.PATH,
        "openTunnel",
        tunnel.open_tunnel,
        status=101,
        errors=(problems.UpgradeMissingError, tunnels.TooManyTunnelsError),
    ),
    Route("POST", "/api/v1/audit/roots", "signAudit", audit_api.sign),
    Route("GET", "/api/v1/audit/lines", "listAuditLines", audit_api.list_lines),
    Route("GET", "/api/v1/audit", "listAudit", handlers.list_audit, errors=(errors.AuditEntryUnknownError,)),
    Route(
        "DELETE",
        GATEWAY,
        "removeGateway",
        handlers.remove_gateway,
        errors=(errors.GatewayUnknownError, errors.GatewayInUseError),
    ),
    Route(
        "POST",
        GATEWAY + "/inventory",
        "readInventory",
        handlers.read_inventory,
        status=202,
        errors=(errors.GatewayUnknownError,),
    ),
    Route("GET", ACCOUNTS, "listSealedAccounts", accounts_api.list_accounts, errors=(errors.GatewayUnknownError,)),
    Route(
        "GET",
        GATEWAY + "/sealing-key",
        "showSealingKey",
        accounts_api.show_sealing_key,
        errors=(errors.GatewayUnknownError, accounts.SealingKeyMissingError),
    ),
    Route(
        "POST",
        GATEWAY + "/sealing-key/rotation",
        "rotateSealingKey",
        accounts_api.rotate_key,
        status=202,
        errors=(errors.GatewayUnknownError, accounts.SealingKeyMissingError),
    ),
    Route(
        "PUT",
        ACCOUNTS + "/{account}",
        "putSealedAccount",
        accounts_api.put_account,
        errors=(
            errors.GatewayUnknownError,
            accounts.SealedAccountChangedError,
            accounts.SealingKeyChangedError,
            accounts.SealingKeyMissingError,
            accounts.TooManyAccountsError,
        ),
    ),
    Route(
        "DELETE",
        ACCOUNTS + "/{account}",
        "deleteSealedAccount",
        accounts_api.delete_account,
        status=204,
        errors=(errors.GatewayUnknownError, accounts.SealedAccountUnknownError),
    ),
    Route("GET", POLICY, "showPolicy", policies_api.show, errors=(errors.GatewayUnknownError,)),
    Route(
        "PUT",
        POLICY + "/proposal",
        "proposePolicy",
        policies_api.propose,
        errors=(errors.GatewayUnknownError, policies.ProposalInvalidError),
    ),
    Route(
        "DELETE",
        POLICY + "/proposal",
        "takeBackPolicyProposal",
        policies_api.take_back,
        errors=(errors.GatewayUnknownError,),
    ),
    Route("PUT", POLICY + "/tightening", "tightenPolicy", policies_api.tighten, errors=(errors.GatewayUnknownError,)),
    Route(
        "DELETE",
        POLICY + "/tightening",
        "endPolicyTightening",
        policies_api.end_tightening,
        errors=(errors.GatewayUnknownError,),
    ),
    Route("GET", PROJECT + "/clusters", "listClusters", handlers.list_clusters),
    Route("GET", CLUSTER, "showCluster", handlers.show_cluster, errors=(errors.ClusterUnknownError,)),
    Route("PUT", CLUSTER, "applyCluster", handlers.apply_cluster, status=202, errors=APPLY_ERRORS),
    Route("POST", CLUSTER + "/plan", "planCluster", handlers.plan_cluster, status=202, errors=APPLY_ERRORS),
    Route(
        "POST",
        CLUSTER + "/deletion-plan",
        "planDeletion",
        handlers.plan_deletion,
        status=202,
        errors=(errors.ClusterUnknownError,),
    ),
    Route(
        "DELETE", CLUSTER, "deleteCluster", handlers.delete_cluster, status=202, errors=(errors.ClusterUnknownError,)
    ),
    Route(
        "GET",
        PROJECT + "/commands/{id}",
        "showProjectCommand",
        handlers.show_project_command,
        errors=(errors.CommandUnknownError,),
    ),
    Route("GET", PROJECT + "/events", "watchProjectEvents", streams.watch_project),
    Route("GET", "/api/v1/commands/{id}", "showCommand", handlers.show_command, errors=(errors.CommandUnknownError,)),
    Route(
        "POST",
        "/api/v1/commands/{id}/cancel",
        "cancelCommand",
        handlers.cancel_command,
        status=202,
        errors=(errors.CommandUnknownError, errors.CommandOverError, errors.CommandOnItsWayError),
    ),
    Route(
        "POST",
        GATEWAY + "/pause",
        "pauseGateway",
        handlers.pause_gateway,
        status=202,
        errors=(errors.GatewayUnknownError,),
    ),
    Route(
        "POST",
        GATEWAY + "/resume",
        "resumeGateway",
        handlers.resume_gateway,
        status=202,
        errors=(errors.GatewayUnknownError,),
    ),
    Route("GET", "/api/v1/events", "watchEvents", streams.watch_tenant),
)
"""Every route but the document itself, which is made from this table."""
