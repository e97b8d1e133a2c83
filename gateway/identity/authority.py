"""This file is the console's certificate authority: it signs the console's own certificate and the appliances'."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.identity import keys
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

BACKDATED = timedelta(minutes=5)
"""Certificates begin a little in the past, for clocks that are a little behind."""

AUTHORITY_LIFE = timedelta(days=3650)
LEAF_LIFE = timedelta(days=365)
GATEWAY_URI = "urn:pcg:gateway:"


class RequestRefusedError(GatewayError):
    """A certificate request is damaged, is not signed by its own key or holds a key we do not take."""

    code = "identity.request_refused"
    remedy = Remedy.CALLER


class AuthorityDamagedError(GatewayError):
    """The console's certificate authority is not whole."""

    code = "identity.authority_damaged"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just signed; `pem` is the leaf followed by the authority."""

    pem: str
    serial: int
    not_after: datetime


class Authority:
    """A root key and certificate in a private directory. `open` makes them where there are none."""

    def __init__(self, key: keys.PrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def open(cls, directory: Path, *, now: datetime) -> "Authority":
        """Read the authority in `directory`, or make one, valid for ten years from `now`.

        Raises AuthorityDamagedError when key and certificate are not each other's: a new key would be trusted by
        no appliance.
        """
        files.make_private_directory(directory)
        path = directory / "authority.pem"
        if path.exists() and not (directory / "authority.key").exists():
            raise AuthorityDamagedError(f"{directory} has lost authority.key: restore it from a copy")
        key = keys.keep(directory / "authority.key")
        if not path.exists():
            files.write_whole(path, _self_signed(key, now).public_bytes(serialization.Encoding.PEM), mode=0o644)
        return cls(key, _matching(path, key))

    @property
    def trust(self) -> str:
        """The authority's certificate in PEM: what others put their trust in."""
        return self._certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def pin(self) -> bytes:
        """SHA-256 of the authority's SubjectPublicKeyInfo: what a registration token carries."""
        return spki_pin(self._certificate)

    def sign_gateway(self, request_pem: str, gateway: UUID, *, now: datetime) -> Issued:
        """Sign an appliance's client certificate. What the request says about its subject is ignored.

        Raises RequestRefusedError.
        """
        public_key = _requested_key(request_pem)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{GATEWAY_URI}{gateway}")]
        return self._sign(public_key, common_name=str(gateway), names=names, usage=usage, now=now)

    def sign_server(self, public_key: keys.PublicKey, hosts: list[str], *, now: datetime) -> Issued:
        """Sign the console's own certificate for the given host names and addresses."""
        names = [_host_name(host) for host in hosts]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._sign(public_key, common_name="pcg console", names=names, usage=usage, now=now)

    def _sign(
        self,
        public_key: keys.PublicKey,
        *,
        common_name: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now: datetime,
    ) -> Issued:
        authority_key = self._key.public_key()
        until = min(now + LEAF_LIFE, self._certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(_name(common_name))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(for_authority=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM).decode() + self.trust
        return Issued(pem, certificate.serial_number, certificate.not_valid_after_utc)


def spki_pin(certificate: x509.Certificate) -> bytes:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469, 2.4)."""
    spki = certificate.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(spki).digest()


def gateway_of(certificate_der: bytes) -> tuple[UUID, int]:
    """Return the gateway's id and the serial number that a verified client certificate names.

    Raises RequestRefusedError when it names no gateway.
    """
    certificate = x509.load_der_x509_certificate(certificate_der)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        return UUID(next(uri for uri in uris if uri.startswith(GATEWAY_URI)).removeprefix(GATEWAY_URI)), (
            certificate.serial_number
        )
    except (x509.ExtensionNotFound, StopIteration, ValueError) as fault:
        raise RequestRefusedError("the client certificate names no gateway") from fault


def certificate_request(key: keys.PrivateKey) -> str:
    """Return a PKCS #10 request for `key` in PEM; the authority decides what the certificate says."""
    request = x509.CertificateSigningRequestBuilder().subject_name(_name("pcg appliance")).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def _matching(path: Path, key: keys.PrivateKey) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as fault:
        raise AuthorityDamagedError(f"{path} is damaged: restore it from a copy") from fault
    if certificate.public_key() != key.public_key():
        raise AuthorityDamagedError(f"{path} does not belong to the key beside it: restore both from one copy")
    return certificate


def _requested_key(request_pem: str) -> keys.PublicKey:
    try:
        request = x509.load_pem_x509_csr(request_pem.encode())
        key = request.public_key()
        if not request.is_signature_valid or not isinstance(key, keys.PublicKey):
            raise ValueError("signature or kind of key")
        return keys.read_public(keys.public_pem(key))
    except (ValueError, keys.KeyUnreadableError) as fault:
        raise RequestRefusedError(
            "the certificate request is damaged, not signed by its own key, or its key is not P-256"
        ) from fault


def _self_signed(key: keys.PrivateKey, now: datetime) -> x509.Certificate:
    name = _name("pcg certificate authority")
    public_key = key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(for_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
        .sign(key, hashes.SHA256())
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


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
