"""This file is every TLS context: version 1.3 only, both ends always checked; `outward` carries one of those."""

import ssl
from pathlib import Path


def server(certificate: Path, key: Path, *, clients: str | None = None) -> ssl.SSLContext:
    """Return the context of a port we listen on.

    `certificate` holds the leaf and its chain. With `clients` (the PEM of an authority) a caller must show a
    certificate of that authority; without, none is asked for.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients)
    return context


def client(trust: str, *, certificate: Path | None = None, key: Path | None = None) -> ssl.SSLContext:
    """Return the context with which we call a console: its authority is `trust` (PEM), its name is checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=trust)
    if certificate is not None:
        context.load_cert_chain(certificate, key)
    return context


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
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
