"""This file is what each certificate of a console says: roots, intermediates, and the leaves that programs show.

::

    root           10 years   two may follow one another; its key signs intermediates and successions only
      intermediate  2 years   signs leaves, and nothing that could sign
        leaf       30 days    the console's own, for its names
        leaf        7 days    an appliance's, which names the gateway

Written for the strictest readers of RFC 5280: OpenSSL's `-x509_strict`, and the flags that are Python's default since
3.13.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from uuid import UUID

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.identity import keys

BACKDATED = timedelta(minutes=5)
"""Certificates begin a little in the past, for clocks that are a little behind."""

ROOT_LIFE = timedelta(days=3650)
INTERMEDIATE_LIFE = timedelta(days=730)
SERVER_LIFE = timedelta(days=30)
LEAF_LIFE = timedelta(days=7)
GATEWAY_URI = "urn:pcg:gateway:"


@dataclass(frozen=True, slots=True)
class Signer:
    """A certificate that signs others, with its key."""

    certificate: x509.Certificate
    key: keys.PrivateKey


def root(key: keys.PrivateKey, *, now: datetime) -> x509.Certificate:
    """Return a root: signed by itself, and above one floor of intermediates."""
    name = _name(f"pcg root certificate authority {_short(key.public_key())}")
    draft = _draft(key.public_key(), name, issuer=name, now=now, until=now + ROOT_LIFE)
    return _authority(draft, key.public_key(), path_length=1).sign(key, hashes.SHA256())


def intermediate(public_key: keys.PublicKey, signer: Signer, *, now: datetime) -> x509.Certificate:
    """Return an intermediate below the root `signer`: it signs leaves only, and does not outlive the root."""
    until = min(now + INTERMEDIATE_LIFE, signer.certificate.not_valid_after_utc)
    name = _name(f"pcg certificate authority {_short(public_key)}")
    draft = _draft(public_key, name, issuer=signer.certificate.subject, now=now, until=until)
    draft = _issued_by(_authority(draft, public_key, path_length=0, own_issuer=False), signer)
    return draft.sign(signer.key, hashes.SHA256())


def for_gateway(public_key: keys.PublicKey, gateway: UUID, signer: Signer, *, now: datetime) -> x509.Certificate:
    """Return an appliance's certificate, for calling a console."""
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{GATEWAY_URI}{gateway}")]
    draft = _leaf(public_key, str(gateway), signer, now=now, life=LEAF_LIFE)
    return _named(draft, names, ExtendedKeyUsageOID.CLIENT_AUTH).sign(signer.key, hashes.SHA256())


def for_server(public_key: keys.PublicKey, hosts: list[str], signer: Signer, *, now: datetime) -> x509.Certificate:
    """Return the console's own certificate for the given host names and addresses."""
    draft = _leaf(public_key, "pcg console", signer, now=now, life=SERVER_LIFE)
    names = [_host_name(host) for host in hosts]
    return _named(draft, names, ExtendedKeyUsageOID.SERVER_AUTH).sign(signer.key, hashes.SHA256())


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate in PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def spki_pin(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469, 2.4)."""
    return spki(certificate.public_key())


def spki(public_key: object) -> bytes:
    """Return the SHA-256 of the SubjectPublicKeyInfo of any public key."""
    encode = getattr(public_key, "public_bytes")  # noqa: B009 - the kinds of key share no type that has it
    encoded: bytes = encode(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(encoded).digest()


def past_half(certificate: x509.Certificate, now: datetime) -> bool:
    """Tell whether half of a certificate's life is over."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return now >= certificate.not_valid_before_utc + life / 2


def is_vouched_for(chain: str, roots: Sequence[str]) -> bool:
    """Tell whether a certificate with its chain (PEM) leads to one of the roots (PEM), at whatever time."""
    try:
        issuers = [x509.load_pem_x509_certificate(root.encode()) for root in roots]
        certificates = x509.load_pem_x509_certificates(chain.encode())
    except ValueError:
        return False
    for certificate in reversed(certificates):
        if certificate in issuers:
            continue
        if not any(_issued(certificate, issuer) for issuer in issuers):
            return False
        issuers = [certificate]
    return True


def is_authority(certificate: x509.Certificate) -> bool:
    """Tell whether a certificate may sign others."""
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, x509.ExtensionNotFound):
        return False


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return is_authority(issuer)


def is_due(certificate: x509.Certificate, now: datetime) -> bool:
    """Tell whether a certificate is to be replaced: half of its life is over, or none of it has begun.

    The latter was made while the clock was ahead: whoever checks dates refuses it, perhaps for years.
    """
    return now < certificate.not_valid_before_utc or past_half(certificate, now)


def _leaf(
    public_key: keys.PublicKey, common_name: str, signer: Signer, *, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    until = min(now + life, signer.certificate.not_valid_after_utc)
    draft = _draft(public_key, _name(common_name), issuer=signer.certificate.subject, now=now, until=until)
    draft = draft.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    draft = draft.add_extension(_key_usage(for_authority=False), critical=True)
    draft = draft.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    return _issued_by(draft, signer)


def _named(
    draft: x509.CertificateBuilder, names: list[x509.GeneralName], usage: x509.ObjectIdentifier
) -> x509.CertificateBuilder:
    draft = draft.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return draft.add_extension(x509.SubjectAlternativeName(names), critical=False)


def _authority(
    draft: x509.CertificateBuilder, public_key: keys.PublicKey, *, path_length: int, own_issuer: bool = True
) -> x509.CertificateBuilder:
    draft = draft.add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
    draft = draft.add_extension(_key_usage(for_authority=True), critical=True)
    draft = draft.add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    if own_issuer:
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key)
        draft = draft.add_extension(issuer, critical=False)
    return draft


def _issued_by(draft: x509.CertificateBuilder, signer: Signer) -> x509.CertificateBuilder:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
    return draft.add_extension(issuer, critical=False)


def _draft(
    public_key: keys.PublicKey, subject: x509.Name, *, issuer: x509.Name, now: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(until)
    )


def _key_usage(*, for_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not for_authority,
        key_cert_sign=for_authority,
        crl_sign=for_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _short(public_key: keys.PublicKey) -> str:
    return spki(public_key).hex()[:16]


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
