"""This file is what the console refuses, whichever of its parts notices."""

from gateway.kit.errors import GatewayError, Remedy


class ProjectUnknownError(GatewayError):
    """There is no such project."""

    code = "project.unknown"
    remedy = Remedy.CALLER


class GatewayUnknownError(GatewayError):
    """There is no such gateway."""

    code = "gateway.unknown"
    remedy = Remedy.CALLER


class GatewayNameTakenError(GatewayError):
    """A gateway of that name is already paired."""

    code = "gateway.name_taken"
    remedy = Remedy.CALLER


class GatewayInUseError(GatewayError):
    """A gateway that still has clusters cannot be removed."""

    code = "gateway.in_use"
    remedy = Remedy.CALLER


class GatewayRemovedError(GatewayError):
    """The gateway was removed from the console; nothing more will be heard of the command."""

    code = "gateway.removed"
    remedy = Remedy.OPERATOR


class ClusterUnknownError(GatewayError):
    """There is no such cluster."""

    code = "cluster.unknown"
    remedy = Remedy.CALLER


class ClusterBeingDeletedError(GatewayError):
    """The cluster is being deleted and cannot be changed any more."""

    code = "cluster.being_deleted"
    remedy = Remedy.CALLER


class ClusterCannotMoveError(GatewayError):
    """A cluster cannot move to another gateway, cloud account, datacenter or folder."""

    code = "cluster.cannot_move"
    remedy = Remedy.CALLER


class CommandUnknownError(GatewayError):
    """There is no such command."""

    code = "command.unknown"
    remedy = Remedy.CALLER


class CommandOverError(GatewayError):
    """The command has ended: there is nothing to cancel."""

    code = "command.over"
    remedy = Remedy.CALLER


class CommandOnItsWayError(GatewayError):
    """The command was sent, and the gateway has not said yet whether it takes it."""

    code = "command.on_its_way"
    remedy = Remedy.RETRY


class CommandCalledOffError(GatewayError):
    """The command was cancelled before it was sent."""

    code = "command.called_off"
    remedy = Remedy.CALLER


class CommandSupersededError(GatewayError):
    """A later command took its place before it was sent."""

    code = "command.superseded"
    remedy = Remedy.CALLER


class TokenUnknownError(GatewayError):
    """There is no such registration token."""

    code = "token.unknown"
    remedy = Remedy.CALLER


class KeyUnknownError(GatewayError):
    """There is no such API key."""

    code = "key.unknown"
    remedy = Remedy.CALLER


class CommandTooLargeError(GatewayError):
    """The wish is larger than what can be relayed to an appliance."""

    code = "command.too_large"
    remedy = Remedy.CALLER


class AuditEntryUnknownError(GatewayError):
    """There is no such entry in the audit log."""

    code = "audit.entry_unknown"
    remedy = Remedy.CALLER


class TargetUnknownError(GatewayError):
    """The gateway offers no such target."""

    code = "target.unknown"
    remedy = Remedy.CALLER


class GatewayAwayError(GatewayError):
    """The gateway keeps no road for streams to the console now."""

    code = "gateway.away"
    remedy = Remedy.RETRY


class GatewayNotActiveError(GatewayError):
    """The gateway may do nothing now: a person has to look at it first."""

    code = "gateway.not_active"
    remedy = Remedy.OPERATOR
