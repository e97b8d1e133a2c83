"""This file is every TLS context: version 1.3 only, both ends always checked; `outward` carries one of those."""

import ssl
from datetime import datetime
from pathlib import Path
from typing import cast

from cryptography import x509

from gateway.kit.errors import GatewayError, Remedy

NO_CHECK_TIME = cast("ssl.VerifyFlags", 0x200000)
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for."""


HYBRID_SINCE = (3, 5)
"""The OpenSSL that agrees on keys by X25519MLKEM768 when both ends can."""


class ConsoleCertificateEndedError(GatewayError):
    """The console shows a certificate that had ended already when the console last told the time."""

    code = "identity.console_certificate_ended"
    remedy = Remedy.OPERATOR


def server(certificate: Path, key: Path, *, clients: str | None = None) -> ssl.SSLContext:
    """Return the context of a port we listen on.

    `certificate` holds the leaf and its chain. With `clients` (the PEM of an authority) a caller must show a
    certificate of that authority; without, none is asked for.
    """
    context = _modern(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    if clients is not None:
        # A resumed session is not asked for its certificate again, which may have ended or been revoked meanwhile.
        context.num_tickets = 0
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients)
    return context


def client(trust: str, *, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return the context with which we call a console: its authority is `trust` (PEM), its name is checked."""
    context = _modern(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=trust)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


def timeless(trust: str, *, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return the context with which an appliance calls its console: as `client`, but no dates are judged.

    An appliance's clock may be wrong by years. What has lapsed by the console's own time `judge_dates` finds out.
    """
    context = client(trust, certificate=certificate, key=key)
    context.verify_flags |= NO_CHECK_TIME
    return context


def judge_dates(certificate_der: bytes, *, floor: datetime | None) -> None:
    """Refuse a console's certificate that had ended by `floor`, the latest time that the console has ever told.

    Without a floor nothing is refused. Raises ConsoleCertificateEndedError.
    """
    ended = x509.load_der_x509_certificate(certificate_der).not_valid_after_utc
    if floor is not None and ended < floor:
        raise ConsoleCertificateEndedError(
            f"the console shows a certificate that ended at {ended:%Y-%m-%d %H:%M}, before the time that the console "
            "last told: restart the console, or look for somebody who uses an old certificate of it",
            ended=ended.isoformat(),
        )


def outward(trust: str, *, more: Path | None = None) -> ssl.SSLContext:
    """Return the context for a connection that others may open on the way: nothing but our own TLS may travel in it.

    Trusted are the system's authorities, `trust` (PEM) and those of the file `more`. Version 1.2 will do, for many a
    proxy speaks no newer.
    """
    context = ssl.create_default_context()
    if trust:
        context.load_verify_locations(cadata=trust)
    if more is not None:
        context.load_verify_locations(cafile=more)
    return context


def unchecked() -> ssl.SSLContext:
    """Return a context that trusts nobody: only for fetching the authority whose pin is then compared."""
    context = _modern(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _modern(purpose: int) -> ssl.SSLContext:
    context = ssl.SSLContext(purpose)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if ssl.OPENSSL_VERSION_INFO < HYBRID_SINCE:
        # OpenSSL would take X448 and P-521 too, which nobody recommends, and Python can name one group only: the one
        # that every TLS 1.3 has to speak (RFC 8446, 9.1). From 3.5 on the default begins with the hybrid of ML-KEM and
        # X25519, and is worth more than a short list.
        context.set_ecdh_curve("prime256v1")
    return context
