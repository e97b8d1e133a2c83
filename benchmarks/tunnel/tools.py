"""This file is what a benchmark is made with: the C programs, built once, certificates, and where programs are."""

import datetime as dt
import ipaddress
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gateway.kit.clock import SystemClock

SOURCES = Path(__file__).parent
C_PROGRAMS = {"target": ["-pthread"], "user": [], "tls_limit": ["-lssl", "-lcrypto"], "delay_line": []}
DAY = dt.timedelta(days=1)
NAMES = [
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("10.231.0.1")),
    x509.IPAddress(ipaddress.ip_address("10.231.0.2")),
]


@dataclass(frozen=True)
class Certificates:
    """One P-256 authority and one P-256 certificate that every road shows at both ends; PEM files."""

    authority: Path
    certificate: Path
    key: Path


@dataclass(frozen=True)
class Tools:
    """Where things are."""

    cache: Path
    directory: Path
    certificates: Certificates

    def built(self, name: str) -> str:
        """Return the path of a C program of ours."""
        return str(self.cache / "bin" / name)

    def installed(self, name: str) -> str | None:
        """Return the path of a program that others made, None when it is not there."""
        cached = (self.cache / "go" / "bin" / name, self.cache / "npm" / "node_modules" / ".bin" / name)
        return next((str(path) for path in cached if path.exists()), None) or shutil.which(
            name, path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        )


def prepare(cache: Path, directory: Path) -> Tools:
    """Build what is not built and make certificates."""
    (cache / "bin").mkdir(parents=True, exist_ok=True)
    for name, flags in C_PROGRAMS.items():
        _build(SOURCES / f"{name}.c", cache / "bin" / name, flags)
    return Tools(cache, directory, make_certificates(directory))


def _build(source: Path, program: Path, flags: list[str]) -> None:
    newest = max(source.stat().st_mtime, (SOURCES / "wire.h").stat().st_mtime)
    if program.exists() and program.stat().st_mtime > newest:
        return
    subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o", str(program), str(source), *flags], check=True)


def make_certificates(directory: Path) -> Certificates:
    """Make an authority and a certificate for both ends, valid for a day."""
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "benchmark authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    authority = (
        _begun(authority_name, authority_name, authority_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        _begun(authority_name, name, key)
        .add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    files = Certificates(directory / "authority.pem", directory / "certificate.pem", directory / "key.pem")
    files.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.key.touch(mode=0o600)
    files.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def _begun(issuer: x509.Name, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = SystemClock().now()
    return (
        x509.CertificateBuilder()
        .issuer_name(issuer)
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
    )
