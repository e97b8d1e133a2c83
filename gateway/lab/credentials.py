"""This file is what only one lab knows: vCenter's password and its certificate."""

import ipaddress
import secrets
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.kit.clock import Clock
from gateway.kit.files import write_whole
from gateway.lab import places
from gateway.lab.places import LabDirectory

LIFETIME = timedelta(days=365)


def write(directory: LabDirectory, number: int, clock: Clock) -> None:
    """Write a fresh password, and a key with a certificate that is its own authority."""
    write_whole(directory.password, secrets.token_urlsafe(18).encode())
    key = ec.generate_private_key(ec.SECP256R1())
    write_whole(
        directory.key,
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
    certificate = _certificate(key, number, clock)
    write_whole(directory.certificate, certificate.public_bytes(serialization.Encoding.PEM), mode=0o644)


def thumbprint(directory: LabDirectory) -> str:
    """Return the SHA-256 thumbprint of vCenter's certificate, as vSphere shows it: AB:CD:…"""
    certificate = x509.load_pem_x509_certificate(directory.certificate.read_bytes())
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _certificate(key: ec.EllipticCurvePrivateKey, number: int, clock: Clock) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, places.VCENTER_NAME)])
    addresses = [places.VCENTER_ADDRESS, places.GATEWAY_ADDRESS, places.uplink_inside(number)]
    names: list[x509.GeneralName] = [x509.DNSName(places.VCENTER_NAME)]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    public = key.public_key()
    identifier = x509.SubjectKeyIdentifier.from_public_key(public)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - timedelta(hours=1))
        .not_valid_after(clock.now() + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, key_cert_sign=True, crl_sign=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
