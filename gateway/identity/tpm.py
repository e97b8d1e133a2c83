"""This file is the machine's TPM 2.0: it makes a P-256 key, keeps it to itself, and signs with it.

The key hangs below the storage key that a TPM derives from its own seed each time it is asked (TCG EK Credential
Profile's SRK template in essence). What is kept on the disk is the key as the TPM wrapped it: another TPM, such as the
new one that a copied virtual machine is given, cannot open it. Nothing is stored in the TPM itself, so nothing in it
can run full. The library is optional (`pip install private-cloud-gateway[tpm]`).
"""

import base64
import hashlib
import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from pydantic import BaseModel, ConfigDict

from gateway.kit.errors import GatewayError, Remedy

DEVICE = "device:/dev/tpmrm0"
LIBRARY = "tpm2_pytss"
STORAGE_KEY = "ecc256:aes128cfb"
STORAGE_RIGHTS = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|decrypt|noda"
SIGNING_KEY = "ecc256:ecdsa-sha256:null"
SIGNING_RIGHTS = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign|noda"


class TpmUnavailableError(GatewayError):
    """The TPM cannot be used."""

    code = "identity.tpm_unavailable"
    remedy = Remedy.OPERATOR


class TpmKeyLostError(GatewayError):
    """The TPM of this machine is not the one that made the device key."""

    code = "identity.tpm_key_lost"
    remedy = Remedy.OPERATOR


class Wrapped(BaseModel):
    """A key as its TPM wrapped it: the public part, and a private part that only that TPM can open; both base64."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public: str
    private: str
    public_pem: str


def there() -> bool:
    """Tell whether the machine shows a TPM, and the library for it is installed."""
    return Path(DEVICE.removeprefix("device:")).exists() and importlib.util.find_spec(LIBRARY) is not None


def make(tcti: str) -> Wrapped:
    """Have the TPM make a key for signatures. Raises TpmUnavailableError."""
    with _opened(tcti) as (tss, esys), _storage_key(tss, esys) as parent:
        template = tss.TPM2B_PUBLIC(tss.TPMT_PUBLIC.parse(SIGNING_KEY, objectAttributes=SIGNING_RIGHTS))
        private, public, *_ = esys.create(parent, tss.TPM2B_SENSITIVE_CREATE(), template)
        return Wrapped(
            public=base64.b64encode(public.marshal()).decode(),
            private=base64.b64encode(private.marshal()).decode(),
            public_pem=public.publicArea.to_pem().decode(),
        )


def sign(tcti: str, key: Wrapped, message: bytes) -> bytes:
    """Return the ECDSA signature with SHA-256 over `message`, in DER. Raises TpmUnavailableError, TpmKeyLostError."""
    with _opened(tcti) as (tss, esys), _storage_key(tss, esys) as parent, _loaded(tss, esys, parent, key) as handle:
        scheme = tss.TPMT_SIG_SCHEME(scheme=tss.TPM2_ALG.ECDSA)
        scheme.details.any.hashAlg = tss.TPM2_ALG.SHA256
        # What was hashed outside the TPM may be signed: the key is not a restricted one.
        ticket = tss.TPMT_TK_HASHCHECK(tag=tss.TPM2_ST.HASHCHECK, hierarchy=tss.TPM2_RH.NULL)
        signature = esys.sign(handle, tss.TPM2B_DIGEST(hashlib.sha256(message).digest()), scheme, ticket)
        pair = signature.signature.ecdsa
        numbers = (int.from_bytes(bytes(part.buffer), "big") for part in (pair.signatureR, pair.signatureS))
        return encode_dss_signature(*numbers)


@contextmanager
def _opened(tcti: str) -> Iterator[tuple[Any, Any]]:
    """Yield the library and a connection to the TPM; its faults become ours, but for those a key is blamed for."""
    try:
        tss = importlib.import_module(LIBRARY)
    except ImportError as fault:
        raise TpmUnavailableError(
            "the library for the TPM is not installed: install private-cloud-gateway with its extra tpm"
        ) from fault
    try:
        with tss.ESAPI(tcti) as esys:
            yield tss, esys
    except (tss.TSS2_Exception, RuntimeError, OSError) as fault:
        raise TpmUnavailableError(f"the TPM at {tcti} cannot be used: {fault}") from fault


@contextmanager
def _storage_key(tss: Any, esys: Any) -> Iterator[Any]:  # noqa: ANN401 - a library without types
    template = tss.TPM2B_PUBLIC(tss.TPMT_PUBLIC.parse(STORAGE_KEY, objectAttributes=STORAGE_RIGHTS))
    handle, *_ = esys.create_primary(tss.TPM2B_SENSITIVE_CREATE(), template)
    try:
        yield handle
    finally:
        esys.flush_context(handle)


@contextmanager
def _loaded(tss: Any, esys: Any, parent: Any, key: Wrapped) -> Iterator[Any]:  # noqa: ANN401 - a library without types
    public, _ = tss.TPM2B_PUBLIC.unmarshal(base64.b64decode(key.public))
    private, _ = tss.TPM2B_PRIVATE.unmarshal(base64.b64decode(key.private))
    try:
        handle = esys.load(parent, private, public)
    except tss.TSS2_Exception as fault:
        raise TpmKeyLostError(
            "the TPM of this machine cannot open the device key: the machine was copied, or its TPM was replaced; "
            "pair it in place with a token of `pcg gateway repair-token`"
        ) from fault
    try:
        yield handle
    finally:
        esys.flush_context(handle)
