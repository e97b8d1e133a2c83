"""This file is what a scanner that nobody here wrote (sslyze) says of both ports of a running console.

It needs the program `sslyze`, which wants an older cryptography than ours and so lives in an environment of its own:
`make scan` makes one and runs this. Without it the test is skipped.
"""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from gateway.identity import certificates
from gateway.identity.vault import Vault
from tests.fakes.console import Console, running_console

SCANS = [
    *("certinfo", "sslv2", "sslv3", "tlsv1", "tlsv1_1", "tlsv1_2", "tlsv1_3", "compression", "early_data", "resum"),
    *("openssl_ccs", "fallback", "heartbleed", "robot", "reneg", "elliptic_curves", "ems"),
]
"""All there are but the HTTP headers, which the tunnel's port has none of."""


def client(console: Console, directory: Path) -> list[str]:
    """Write a client certificate that the tunnel's port takes; the scanner's own TLS, for old protocols, wants RSA."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signer = Vault(console.settings.state / "authority").read().signer
    leaf = certificates.for_gateway(key.public_key(), uuid4(), signer, now=console.clock.now())  # type: ignore[arg-type]
    (directory / "client.pem").write_text(certificates.pem(leaf) + certificates.pem(signer.certificate))
    (directory / "client.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    return ["--cert", str(directory / "client.pem"), "--key", str(directory / "client.key")]


async def scanned(sslyze: str, console: Console, port: int | None, *more: str) -> tuple[str, dict[str, Any]]:
    """Scan a port; return what was printed, and what each scan has found."""
    report = console.settings.state / "scan.json"
    trust = console.settings.state / "authority" / "authority.pem"
    process = await asyncio.create_subprocess_exec(
        sslyze,
        *(f"--{scan}" for scan in SCANS),
        *("--mozilla_config", "modern", *more),
        *("--certinfo_ca_file", str(trust), "--json_out", str(report), f"localhost:{port}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    said, _ = await process.communicate()
    (result,) = json.loads(report.read_text())["server_scan_results"]
    done = {name: scan for name, scan in result["scan_result"].items() if scan["status"] != "NOT_SCHEDULED"}
    return said.decode(), done


def sslyze_here() -> str:
    found = shutil.which("sslyze")
    if found is None:
        pytest.skip("no sslyze here: make scan")
    return found


async def test_a_scanner_finds_nothing_to_complain_of_on_the_port_of_the_api(tmp_path: Path) -> None:
    sslyze = sslyze_here()
    async with running_console(tmp_path / "console") as console:
        said, scans = await scanned(sslyze, console, urlsplit(console.reached.api).port)
    assert "OK - Compliant." in said, said[-2000:]
    assert {name for name, scan in scans.items() if scan["status"] != "COMPLETED"} == set()
    assert complaints(scans) == []


async def test_a_scanner_finds_nothing_to_complain_of_on_the_port_of_the_tunnel(tmp_path: Path) -> None:
    """Its own verdict needs a scan of SSL 2, for which it can load no client certificate: so the rest is read here."""
    sslyze = sslyze_here()
    async with running_console(tmp_path / "console") as console:
        shown = client(console, tmp_path)
        _, scans = await scanned(sslyze, console, urlsplit(console.reached.tunnel).port, *shown)
    assert {name for name, scan in scans.items() if scan["status"] != "COMPLETED"} <= {"ssl_2_0_cipher_suites"}
    assert complaints(scans) == []


def complaints(scans: dict[str, Any]) -> list[str]:
    """Return what is not as Mozilla's "modern" configuration and this product want it."""
    seen = {name: scan["result"] for name, scan in scans.items() if scan["status"] == "COMPLETED"}
    (deployment,) = seen["certificate_info"]["certificate_deployments"]
    curves = {one["name"] for one in seen["elliptic_curves"]["supported_curves"]}
    wanted = {
        "our root leads to the certificate": any(
            one["was_validation_successful"] and "Supplied" in one["trust_store"]["name"]
            for one in deployment["path_validation_results"]
        ),
        "the chain is in order": deployment["received_chain_has_valid_order"],
        "the root is not sent": not deployment["received_chain_contains_anchor_certificate"],
        "no older protocol": {name for name in seen if seen[name].get("accepted_cipher_suites")}
        == {"tls_1_3_cipher_suites"},
        "curves": curves <= {"X25519", "prime256v1", "secp256r1", "secp384r1", "X25519MLKEM768"},
        "early data": not seen["tls_1_3_early_data"]["supports_early_data"],
        "compression": not seen["tls_compression"]["supports_compression"],
        "heartbleed": not seen["heartbleed"]["is_vulnerable_to_heartbleed"],
        "change of cipher spec": not seen["openssl_ccs_injection"]["is_vulnerable_to_ccs_injection"],
        "robot": seen["robot"]["robot_result"].startswith("NOT_VULNERABLE"),
        "renegotiation": not seen["session_renegotiation"]["is_vulnerable_to_client_renegotiation_dos"],
    }
    return [what for what, holds in wanted.items() if not holds]
