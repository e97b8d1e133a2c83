"""This file is how trust goes from one root to the next: a root's signed word that another follows it.

::

    root A ──signs──> "B follows me" ── root B ──signs──> "C follows me" ── root C
      ^ what an appliance trusts that has slept through both              ^ what it may trust then

A statement has no date and never lapses: an appliance that was off for years has no clock to judge one by. What makes
it good is who has signed it, and that it says which root follows, to the last byte. It goes one way only: from B nobody
gets back to A.
"""

import base64
import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gateway.contract.trust import Grounds, Succession, Successions, TrustBundle
from gateway.identity import certificates, keys
from gateway.kit.errors import GatewayError, Remedy

DOMAIN = b"private-cloud-gateway root succession 1"
UNVOUCHED = 1
"""The version of a bundle that was followed: lower than any other, since no root has signed a higher one."""


class SuccessionBrokenError(GatewayError):
    """What is trusted does not lead to the console's present root."""

    code = "identity.succession_broken"
    remedy = Remedy.OPERATOR


def hand_on(signer: certificates.Signer, successor: x509.Certificate) -> Succession:
    """Return the word of the root `signer` that `successor` follows it."""
    follows = certificates.spki_pin(signer.certificate)
    signature = keys.sign(signer.key, _statement(follows, successor))
    return Succession(
        follows=follows.hex(), root=certificates.pem(successor), signature=base64.b64encode(signature).decode()
    )


def follow(trusted: Sequence[str], successions: Successions) -> TrustBundle:
    """Return the roots that may be trusted by who trusts the roots `trusted` (PEM), the console's current one first.

    The bundle is good to check a console's certificate with. Its version is UNVOUCHED, for whoever hands out
    successions may claim any: keep the bundle that the console sends once its certificate was checked.
    Raises SuccessionBrokenError when the console's current root is not among them.
    """
    reached = _reached(trusted, successions.steps)
    offered = [_root(one) for one in successions.trust.roots]
    if certificates.spki_pin(offered[0]) not in reached:
        raise SuccessionBrokenError(
            "the console's root does not follow from the one that is trusted: pair the appliance with a repair token"
        )
    kept = [reached[pin] for pin in map(certificates.spki_pin, offered) if pin in reached]
    return TrustBundle(version=UNVOUCHED, roots=[certificates.pem(one) for one in kept])


def judged(known: TrustBundle, said: TrustBundle, *, grounds: Grounds, shown: str) -> TrustBundle:
    """Return the bundle that who trusts `known` is to keep after a console that has `shown` (PEM) itself said another.

    A console's TLS key says nothing for good: what is said is kept only when each of its roots is known, or follows
    from a known one by signed steps; when one of them vouches for who says it, so that nobody is led to where no
    console is; and when it is newer, or has a root that is.
    """
    try:
        reached = list(_reached(known.roots, grounds.steps).values())
        roots, before = [_root(one) for one in said.roots], [_root(one) for one in known.roots]
    except SuccessionBrokenError:
        return known
    follows = all(one in reached and certificates.is_authority(one) for one in roots)
    # A root that is new by its predecessor's word makes the bundle the newer one, whatever version was claimed before.
    is_newer = said.version > known.version or any(one not in before for one in roots)
    vouched = any(certificates.is_vouched_for(shown + issuer, said.roots) for issuer in ("", *grounds.issuers))
    return said if follows and is_newer and vouched else known


def _reached(trusted: Sequence[str], steps: Sequence[Succession]) -> dict[bytes, x509.Certificate]:
    """Return the roots by their pins that are trusted, or follow from those by signed steps."""
    reached = {certificates.spki_pin(one): one for one in map(_root, trusted)}
    for step in steps:
        signer = reached.get(bytes.fromhex(step.follows))
        if signer is None:
            continue  # a step between roots that we have never trusted, or trust no more
        successor = _root(step.root)
        if _holds(step, signer, successor):
            reached[certificates.spki_pin(successor)] = successor
    return reached


def _holds(step: Succession, signer: x509.Certificate, successor: x509.Certificate) -> bool:
    key = signer.public_key()
    if not isinstance(key, keys.PublicKey):
        return False
    try:
        signature = base64.b64decode(step.signature, validate=True)
    except ValueError:
        return False
    return keys.signed(key, signature, _statement(certificates.spki_pin(signer), successor))


def _statement(follows: bytes, successor: x509.Certificate) -> bytes:
    """Return what is signed: each part has a length of its own or one before it, so that none runs into another."""
    encoded = successor.public_bytes(serialization.Encoding.DER)
    parts = (DOMAIN, follows, certificates.spki_pin(successor), encoded)
    return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def _root(text: str) -> x509.Certificate:
    try:
        (certificate,) = x509.load_pem_x509_certificates(text.encode())
    except ValueError as fault:
        raise SuccessionBrokenError("a root of the successions is not one certificate in PEM") from fault
    return certificate
