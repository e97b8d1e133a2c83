"""This file is the console's certificate authority: it signs the console's own certificate and the appliances'.

Its directory is `vault`'s, its phases are `rotation`'s. A root's key is needed for the steps of a rotation and for new
intermediates only: it may lie elsewhere in between.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from gateway.contract.trust import MOST_ISSUERS, Grounds, Successions, TrustBundle
from gateway.identity import certificates, keys, rotation, succession
from gateway.identity.certificates import GATEWAY_URI, LEAF_LIFE, spki_pin
from gateway.identity.rotation import State
from gateway.identity.vault import AuthorityDamagedError, Chain, Vault, is_below
from gateway.kit import files
from gateway.kit.errors import GatewayError, Remedy

__all__ = [
    "GATEWAY_URI",
    "LEAF_LIFE",
    "Authority",
    "AuthorityDamagedError",
    "Issued",
    "RequestRefusedError",
    "certificate_request",
    "gateway_of",
    "spki_pin",
]


VOUCHED_AT_MOST = 20_000
"""Certificates that are remembered as vouched for; more than gateways at one console."""


class RequestRefusedError(GatewayError):
    """A certificate request is damaged, is not signed by its own key or holds a key we do not take."""

    code = "identity.request_refused"
    remedy = Remedy.CALLER


class AuthorityEndedError(GatewayError):
    """The authority's own certificates have ended: nothing that it signs is good."""

    code = "authority.ended"
    remedy = Remedy.OPERATOR


class AuthorityNotBegunError(GatewayError):
    """The authority's own certificates have not begun: whoever checks dates refuses what it signs."""

    code = "authority.not_begun"
    remedy = Remedy.OPERATOR


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just signed; `pem` is the leaf followed by the intermediate."""

    pem: str
    serial: int
    not_after: datetime


class Authority:
    """The authority in a private directory. `open` makes it where there is none.

    What it says is what was read last: `reload` looks whether another process has changed it meanwhile.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._seen = vault.seen()
        self._chain: Chain = vault.read()
        self._vouched: set[bytes] = set()

    @classmethod
    def open(cls, directory: Path, *, now: datetime) -> "Authority":
        """Read the authority in `directory`, or make one, whose root is valid for ten years from `now`.

        Raises AuthorityDamagedError when it is not whole: a new one would be trusted by no appliance.
        """
        vault = Vault(files.make_private_directory(directory))
        with vault.held():
            if vault.is_empty:
                root, signer = vault.make_root(now)
                intermediate, _ = vault.make_intermediate(signer, now)
                vault.write(State(current=root, intermediates=(intermediate,)))
            made = cls(vault)
            made._tidy()
        return made

    @property
    def state(self) -> State:
        """Where the rotation stands."""
        return self._chain.state

    @property
    def trust(self) -> TrustBundle:
        """The roots that appliances are to trust."""
        return TrustBundle(version=self.state.version, roots=[certificates.pem(one) for one in self._chain.roots])

    @property
    def root(self) -> str:
        """The current root in PEM: one certificate."""
        return certificates.pem(self._chain.roots[0])

    @property
    def clients(self) -> str:
        """The roots below which appliances' certificates are taken, in PEM."""
        return "".join(self.trust.roots)

    @property
    def client_pins(self) -> tuple[bytes, ...]:
        """The pins of the roots below which appliances' certificates are taken."""
        return tuple(spki_pin(one) for one in self._chain.roots)

    @property
    def pin(self) -> bytes:
        """SHA-256 of the current root's SubjectPublicKeyInfo."""
        return spki_pin(self._chain.roots[0])

    @property
    def pins(self) -> tuple[bytes, ...]:
        """The pins that registration tokens carry: the current root's, and the next one's once it is handed on."""
        known = self._chain.roots if self.state.phase is rotation.Phase.HANDED_ON else self._chain.roots[:1]
        return tuple(spki_pin(one) for one in known)

    @property
    def current_since(self) -> datetime | None:
        """Since when registration tokens know the current root; None for the very first, which all know."""
        return self._known_since(self._chain.roots[0])

    @property
    def newest_since(self) -> datetime | None:
        """Since when they know the newest root: the next one once it is handed on, else the current one."""
        is_handed_on = self.state.phase is rotation.Phase.HANDED_ON
        return self._known_since(self._chain.roots[1 if is_handed_on else 0])

    @property
    def successions(self) -> Successions:
        """How the roots have followed one another, for whoever has missed it."""
        return Successions(steps=list(self.state.steps), trust=self.trust)

    @property
    def grounds(self) -> Grounds:
        """On what `trust` may be believed by who is connected: the newest intermediates are all that any leaf has."""
        issuers = [certificates.pem(one) for one in self._chain.intermediates[-MOST_ISSUERS:]]
        return Grounds(steps=list(self.state.steps), issuers=issuers)

    def sign_gateway(self, request_pem: str, gateway: UUID, *, now: datetime) -> Issued:
        """Sign an appliance's client certificate. What the request says about its subject is ignored.

        Raises RequestRefusedError, AuthorityEndedError or AuthorityNotBegunError.
        """
        public_key = _requested_key(request_pem)
        self._refuse_not_begun(now)
        return self._issued(certificates.for_gateway(public_key, gateway, self._living_signer(now), now=now))

    def sign_server(self, public_key: keys.PublicKey, hosts: list[str], *, now: datetime) -> Issued:
        """Sign the console's own certificate for the given host names and addresses. Raises AuthorityEndedError."""
        return self._issued(certificates.for_server(public_key, hosts, self._living_signer(now), now=now))

    def vouches_for(self, certificate_der: bytes) -> bool:
        """Tell whether a certificate was signed by an intermediate below a root that is still in the bundle.

        Open connections are asked about again and again: a signature that holds is checked once for each state.
        """
        vouched, name = self._vouched, hashlib.sha256(certificate_der).digest()
        if name in vouched:
            return True
        leaf = x509.load_der_x509_certificate(certificate_der)
        holds = any(is_below(leaf, one) for one in self._chain.intermediates)
        if holds:
            if len(vouched) >= VOUCHED_AT_MOST:
                vouched.clear()
            vouched.add(name)
        return holds

    def reload(self) -> bool:
        """Read the authority anew if another process has changed it; tell whether it had.

        Raises AuthorityDamagedError.
        """
        if self._vault.seen() == self._seen:
            return False
        with self._vault.held():
            self._read()
        return True

    def renew_intermediate(self, *, now: datetime) -> None:
        """Sign with a new intermediate from now on; what the former ones have signed stays good.

        Raises RootKeyAwayError or AuthorityEndedError.
        """
        with self._changing():
            self._refuse_ended(self._chain.roots[0], now)
            made, _ = self._vault.make_intermediate(self._vault.root_signer(self.state.current), now)
            living = tuple(name for name, one in self._intermediates() if one.not_valid_after_utc > now)
            self._vault.write(self.state.model_copy(update={"intermediates": (*living, made)}))

    def hand_on(self, *, now: datetime) -> None:
        """Make the next root and bring it into the bundle. Raises RotationOutOfTurnError or RootKeyAwayError."""
        with self._changing():
            rotation.expect(self.state, rotation.Phase.STEADY)
            signer = self._vault.root_signer(self.state.current)
            name, following = self._vault.make_root(now)
            step = succession.hand_on(signer, following.certificate)
            self._vault.write(rotation.handed_on(self.state, name, step))

    def promote(self, *, now: datetime) -> None:
        """Make the next root the current one; the key of the former one is destroyed.

        Raises RotationOutOfTurnError or RootKeyAwayError.
        """
        with self._changing():
            rotation.expect(self.state, rotation.Phase.HANDED_ON)
            signer = self._vault.root_signer(self.state.roots[1])
            intermediate, _ = self._vault.make_intermediate(signer, now)
            self._vault.write(rotation.promoted(self.state, intermediate, now=now))

    def retire(self) -> None:
        """Take the former root out of the bundle. Raises RotationOutOfTurnError."""
        with self._changing():
            after = rotation.retired(self.state)
            kept = tuple(name for name, one in self._intermediates() if is_below(one, self._chain.roots[0]))
            self._vault.write(after.model_copy(update={"intermediates": kept}))

    @property
    def has_root_key(self) -> bool:
        """Tell whether the current root's key is in its place."""
        return self._vault.has_key(self.state.current)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """The roots, the current one first, and last the intermediate that signs."""
        return (*self._chain.roots, self._chain.signer.certificate)

    def _known_since(self, root: x509.Certificate) -> datetime | None:
        if not any(step.root == certificates.pem(root) for step in self.state.steps):
            return None
        return root.not_valid_before_utc + certificates.BACKDATED + rotation.NOTICED

    def _living_signer(self, now: datetime) -> certificates.Signer:
        self._refuse_ended(self._chain.signer.certificate, now)
        return self._chain.signer

    def _refuse_not_begun(self, now: datetime) -> None:
        """Refuse a gateway's certificate that nobody would take: it had better keep what it has.

        The console's own is signed all the same, for its gateways do not go by dates.
        """
        begins = self._chain.signer.certificate.not_valid_before_utc
        if now < begins:
            raise AuthorityNotBegunError(
                f"the console's intermediate begins at {begins:%Y-%m-%d %H:%M}, later than its clock says: set the "
                "clock right; a new one is made within seconds if the key of the root is there (pcg console ca status)"
            )

    def _refuse_ended(self, certificate: x509.Certificate, now: datetime) -> None:
        if certificate.not_valid_after_utc > now:
            return
        step = "rotate" if self._chain.roots[0].not_valid_after_utc > now else "rotate --root, then rotate --switch"
        raise AuthorityEndedError(
            f"the authority has ended at {certificate.not_valid_after_utc:%Y-%m-%d}: `pcg console ca {step}` "
            "makes a new one that gateways can follow"
        )

    def _issued(self, leaf: x509.Certificate) -> Issued:
        pem = certificates.pem(leaf) + certificates.pem(self._chain.signer.certificate)
        return Issued(pem, leaf.serial_number, leaf.not_valid_after_utc)

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with self._vault.held():
            self._read()
            yield
            self._read()
            self._tidy()

    def _read(self) -> None:
        self._seen = self._vault.seen()
        self._chain = self._vault.read()
        # After the chain: what is asked meanwhile, by another thread, is then noted in the set that goes.
        self._vouched = set()

    def _tidy(self) -> None:
        self._vault.show(self._chain.roots[0])
        self._vault.sweep(self.state)

    def _intermediates(self) -> Iterator[tuple[str, x509.Certificate]]:
        return zip(self.state.intermediates, self._chain.intermediates, strict=True)


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
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pcg appliance")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


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
