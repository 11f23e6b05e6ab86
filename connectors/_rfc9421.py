"""HTTP Message Signatures (RFC 9421) over a request, on `http-message-signatures`.

The library reads structured fields and builds what was signed. The policy is ours, because the standard leaves it to
the receiver and a signature over nothing at all is valid by it: what must be covered, which algorithm, which key, how
old. The digest of the body is always covered and always recomputed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, SECP384R1
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512
from http_message_signatures import (
    ContentDigest,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    HTTPSignatureKeyResolver,
)

from connectors._asymmetric import (
    Pin,
    PublicKey,
    Seal,
    chosen,
    ecdsa_der,
    ecdsa_raw,
    ed25519,
    prove,
    rsa_pkcs1,
    rsa_pss,
)
from connectors._base import InvalidSignature, Reason, Verified, WebhookRequest
from connectors._signatures import MAX_SECONDS_DIGITS, fresh, from_base64, only_value, values

SEALS: Final[Mapping[str, Seal]] = {
    "rsa-v1_5-sha256": rsa_pkcs1(SHA256()),
    "rsa-pss-sha512": rsa_pss(SHA512()),
    "ecdsa-p256-sha256": ecdsa_raw(SECP256R1(), SHA256()),
    "ecdsa-p384-sha384": ecdsa_raw(SECP384R1(), SHA384()),
    "ed25519": ed25519,
}
"""The algorithms of RFC 9421, section 3.3, that need no shared secret."""

DER_SEALS: Final[Mapping[str, Seal]] = {
    "ecdsa-p256-sha256": ecdsa_der(SECP256R1(), SHA256()),
    "ecdsa-p384-sha384": ecdsa_der(SECP384R1(), SHA384()),
}
"""The same two curves as gateways write them that sign with their platform's default instead of the standard's."""

DIGEST: Final = "content-digest"

_ONE_SIGNATURE: Final = re.compile(rb"[a-z*][a-z0-9_.*-]*=:([A-Za-z0-9+/=]+):", re.ASCII)


@dataclass(frozen=True, slots=True)
class Policy:
    """What makes a signature that is valid by the standard good enough for us."""

    algorithm: str
    """A name of `SEALS`; a signature that claims another is refused, one that claims none must still be by this one."""
    required: frozenset[str]
    """Components that must be covered, besides the digest of a body."""
    authority: str
    """The host that the gateway was told to call. Not the Host header: whoever replays a message writes that."""
    tolerance_seconds: float | None = 300
    """How old or how far ahead `created` may be; None enforces nothing."""
    is_der: bool = False
    """Whether ECDSA signatures are DER."""
    demands_digest: bool = True
    """False only for the standard's own examples, some of which sign no body."""


@dataclass(frozen=True, slots=True)
class _Message:
    method: str
    url: str
    headers: "_Fields"


@dataclass(frozen=True, slots=True)
class _Fields:
    lines: Sequence[tuple[bytes, bytes]]

    def items(self) -> list[tuple[str, str]]:
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.lines]


def verified(request: WebhookRequest, pinned: Sequence[Pin], policy: Policy, now: datetime) -> Verified:
    """Prove a request by its one signature. Raises `InvalidSignature`."""
    _check_fields(request, policy)
    verifier = _Verifier(request, pinned, policy, now)
    url = f"https://{policy.authority}{request.path}"
    try:
        (result,) = verifier.verify(_Message(request.method, url, _Fields(request.headers)), max_age=None)
    except InvalidSignature:
        raise
    except Exception as error:  # noqa: BLE001 - strangers' bytes in a parser not ours: whatever it raises is a refusal
        # What a check of ours raises in the middle of the library's work comes out as the cause of its own error.
        raise _ours(error) or InvalidSignature(Reason.MALFORMED_HEADER) from None
    if policy.demands_digest:
        _check_digest(request)
    return Verified(fresh(int(result.parameters["created"]), now, None))


def _check_fields(request: WebhookRequest, policy: Policy) -> None:
    values(request, b"signature-input")
    signature = _ONE_SIGNATURE.fullmatch(only_value(request, b"signature"))
    if signature is None:
        raise InvalidSignature(Reason.MALFORMED_HEADER)
    if from_base64(signature.group(1)) is None:  # the library lets several texts stand for the same bytes
        raise InvalidSignature(Reason.BAD_ENCODING)
    if policy.demands_digest:
        values(request, DIGEST.encode())


def _check_digest(request: WebhookRequest) -> None:
    """Recompute every digest that the request names. They are covered as one field, so all of it is authentic."""
    try:
        ContentDigest.verify(b", ".join(request.values(DIGEST.encode())), request.body)
    except Exception:  # noqa: BLE001 - as above
        raise InvalidSignature(Reason.DIGEST_MISMATCH) from None


def _ours(error: BaseException) -> InvalidSignature | None:
    return error.__cause__ if isinstance(error.__cause__, InvalidSignature) else None


class _Verifier(HTTPMessageVerifier):
    """The library's verifier with our policy in place of its clock."""

    def __init__(self, request: WebhookRequest, pinned: Sequence[Pin], policy: Policy, now: datetime) -> None:
        super().__init__(signature_algorithm=_algorithm(policy.algorithm, policy.is_der), key_resolver=_Keys(pinned))
        self._request, self._pinned, self._policy, self._now = request, pinned, policy, now

    def validate_created_and_expires(self, sig_input: Any, max_age: object = None) -> None:
        """Check everything that a signature says of itself; the library calls this before any cryptography."""
        del max_age
        parameters = sig_input.params
        if parameters.get("alg", self._policy.algorithm) != self._policy.algorithm:
            raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM)
        if "keyid" not in parameters:
            raise InvalidSignature(Reason.MALFORMED_HEADER)
        chosen(self._pinned, str(parameters["keyid"]))
        self._check_times(parameters)
        self._check_coverage(list(sig_input))

    def _check_times(self, parameters: Mapping[str, Any]) -> None:
        created, expires = parameters.get("created"), parameters.get("expires")
        for seconds in (created, expires):
            if seconds is not None and not 0 <= seconds < 10**MAX_SECONDS_DIGITS:
                raise InvalidSignature(Reason.MALFORMED_HEADER)
        if created is None:
            raise InvalidSignature(Reason.MALFORMED_HEADER)
        fresh(created, self._now, self._policy.tolerance_seconds)
        if expires is not None and expires < self._now.timestamp():
            raise InvalidSignature(Reason.TIMESTAMP_TOO_OLD)

    def _check_coverage(self, components: Sequence[Any]) -> None:
        """A component with parameters may stand for a part of it only, so it covers nothing that we require."""
        covered = {component.value for component in components if not component.params}
        required = self._policy.required | ({DIGEST} if self._policy.demands_digest else frozenset())
        if not required <= covered:
            raise InvalidSignature(Reason.UNCOVERED_COMPONENT)
        for name in covered:
            if isinstance(name, str) and not name.startswith("@"):
                values(self._request, name.encode("utf-8", "surrogatepass"))


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, pinned: Sequence[Pin]) -> None:
        self._pinned = pinned

    def resolve_public_key(self, key_id: str) -> Any:
        return chosen(self._pinned, key_id)


@lru_cache
def _algorithm(name: str, is_der: bool) -> type[HTTPSignatureAlgorithm]:  # noqa: FBT001 - a key of the cache
    """Return one of our seals as the library's algorithm. It tries every key that answers to the id."""
    try:
        seal = DER_SEALS[name] if is_der and name in DER_SEALS else SEALS[name]
    except KeyError:
        raise InvalidSignature(Reason.FORBIDDEN_ALGORITHM) from None

    class Sealed(HTTPSignatureAlgorithm):
        algorithm_id = name

        def __init__(self, public_key: list[PublicKey], private_key: None = None) -> None:
            del private_key
            self._keys = public_key

        def verify(self, signature: bytes, message: bytes) -> None:
            prove(self._keys, signature, message, seal)

    return Sealed
