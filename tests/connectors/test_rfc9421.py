"""RFC 9421: the standard's own examples, and what our policy makes of requests that the standard calls valid."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors._asymmetric import pin, pins
from connectors._base import InvalidSignature, Reason, Verified, WebhookRequest
from connectors._rfc9421 import Policy, verified
from sandbox.signers import pawapay
from tests.connectors.keys import an_elliptic_key, as_arrived, spki
from tests.connectors.sample import NOW, Headers

KEY, AUTHORITY, BODY = an_elliptic_key(), "hooks.example.test", b'{"payoutId":"1"}'
PINNED = pins([f"keyid=a {spki(KEY)}"], pin)
POLICY = Policy("ecdsa-p256-sha256", frozenset({"@method", "@authority", "@path"}), AUTHORITY)
CREATED = int(NOW.timestamp())
GOOD = f'created={CREATED};keyid="a"'

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("vectors").joinpath("rfc9421.json").read_text(encoding="utf-8")
)["vectors"]


def a_request(parameters: str = GOOD, path: str = "/hooks", **how: Any) -> WebhookRequest:
    """Return a signed request; `how` goes to the signer."""
    own = pawapay.own_headers(BODY, NOW)
    seal = pawapay.ecdsa(KEY, is_der=False)
    headers = pawapay.signed(own, seal, **{"authority": AUTHORITY, "path": path, "parameters": parameters} | how)
    return WebhookRequest(as_arrived(headers), BODY, "POST", path)


def reason_of(request: WebhookRequest, policy: Policy = POLICY) -> Reason | None:
    try:
        assert verified(request, PINNED, policy, NOW) == Verified(NOW)
    except InvalidSignature as refused:
        return refused.reason
    return None


def with_header(request: WebhookRequest, name: bytes, *values: bytes) -> WebhookRequest:
    rest: Headers = [(key, value) for key, value in request.headers if key != name]
    return WebhookRequest([*rest, *((name, value) for value in values)], request.body, request.method, request.path)


# --- the standard


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
def test_an_example_of_the_standard_holds(vector: dict[str, Any]) -> None:
    target = urlsplit(vector["target_uri"])
    headers = as_arrived(vector["headers"])
    request = WebhookRequest(headers, vector["body"].encode(), vector["method"], f"{target.path}?{target.query}")
    covers_digest = '"content-digest"' in vector["headers"]["Signature-Input"]
    policy = Policy(vector["algorithm"], frozenset(), target.netloc, None, demands_digest=covers_digest)
    pinned, now = pins([vector["secret_or_public_key"]], pin), datetime.fromtimestamp(vector["verify_at"], UTC)

    if vector["expected"] == "valid":
        assert verified(request, pinned, policy, now) == Verified(now)
    else:
        with pytest.raises(InvalidSignature):
            verified(request, pinned, policy, now)


def test_a_signature_over_nothing_is_valid_by_the_standard_and_refused_by_us() -> None:
    assert reason_of(a_request(covered=())) is Reason.UNCOVERED_COMPONENT


# --- our policy


def test_a_good_request_verifies() -> None:
    assert reason_of(a_request()) is None
    assert reason_of(a_request(f'{GOOD};alg="ecdsa-p256-sha256";nonce="n";tag="t"')) is None
    assert reason_of(a_request(path="/hooks/%7Ea/")) is None


@pytest.mark.parametrize("missing", ["@method", "@authority", "@path", "content-digest"])
def test_what_must_be_covered_must_be_covered(missing: str) -> None:
    covered = tuple(name for name in pawapay.COVERED if name != missing)

    assert reason_of(a_request(covered=covered)) is Reason.UNCOVERED_COMPONENT


def test_a_part_of_the_digest_covers_nothing() -> None:
    request = a_request()
    text = dict(request.headers)[b"signature-input"].replace(b'"content-digest"', b'"content-digest";key="sha-512"')

    assert reason_of(with_header(request, b"signature-input", text)) is Reason.UNCOVERED_COMPONENT


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        (f'created={CREATED};keyid="b"', Reason.UNKNOWN_KEY),
        (f'created={CREATED};keyid=""', Reason.UNKNOWN_KEY),
        (f"created={CREATED};keyid=a", Reason.SIGNATURE_MISMATCH),
        (f"created={CREATED}", Reason.MALFORMED_HEADER),
        ('keyid="a"', Reason.MALFORMED_HEADER),
        (f'created={CREATED}.5;keyid="a"', Reason.MALFORMED_HEADER),
        ('created="now";keyid="a"', Reason.MALFORMED_HEADER),
        ('created=?1;keyid="a"', Reason.MALFORMED_HEADER),
        ('created=-1;keyid="a"', Reason.MALFORMED_HEADER),
        ('created=999999999999999;keyid="a"', Reason.MALFORMED_HEADER),
        ('created=9999999999999999;keyid="a"', Reason.MALFORMED_HEADER),
        (f'created={CREATED - 301};keyid="a"', Reason.TIMESTAMP_TOO_OLD),
        (f'created={CREATED + 301};keyid="a"', Reason.TIMESTAMP_IN_FUTURE),
        (f"{GOOD};expires={CREATED - 1}", Reason.TIMESTAMP_TOO_OLD),
        (f"{GOOD};expires=999999999999999", Reason.MALFORMED_HEADER),
        (f'{GOOD};alg="ed25519"', Reason.FORBIDDEN_ALGORITHM),
        (f'{GOOD};alg="hmac-sha256"', Reason.FORBIDDEN_ALGORITHM),
        (f'{GOOD};alg="none"', Reason.FORBIDDEN_ALGORITHM),
        (f'{GOOD};alg=""', Reason.FORBIDDEN_ALGORITHM),
        (f"{GOOD};alg=1", Reason.MALFORMED_HEADER),
        (f"{GOOD};unheard=1", Reason.MALFORMED_HEADER),
    ],
)
def test_what_a_signature_says_of_itself_is_checked(parameters: str, reason: Reason) -> None:
    found = reason_of(a_request(parameters))

    assert found in {reason, Reason.MALFORMED_HEADER if reason is Reason.SIGNATURE_MISMATCH else reason}


def test_a_request_is_good_until_it_expires() -> None:
    assert reason_of(a_request(f"{GOOD};expires={CREATED}")) is None


def test_a_message_to_another_host_or_path_is_not_for_us() -> None:
    assert reason_of(a_request(authority="hooks.mallory.test")) is Reason.SIGNATURE_MISMATCH
    request = a_request(path="/elsewhere")
    moved = WebhookRequest(request.headers, request.body, "POST", "/hooks")
    assert reason_of(moved) is Reason.SIGNATURE_MISMATCH
    assert reason_of(WebhookRequest(request.headers, request.body, "PUT", "/elsewhere")) is Reason.SIGNATURE_MISMATCH


def test_the_host_header_says_nothing_about_who_we_are() -> None:
    request = a_request(authority="hooks.mallory.test")

    assert reason_of(with_header(request, b"host", b"hooks.mallory.test")) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("name", ["sha-256", "sha-512"])
def test_the_digest_is_recomputed(name: str) -> None:
    own = pawapay.own_headers(BODY, NOW, name)
    seal = pawapay.ecdsa(KEY, is_der=False)
    headers = as_arrived(pawapay.signed(own, seal, authority=AUTHORITY, path="/", parameters=GOOD))

    assert reason_of(WebhookRequest(headers, BODY)) is None
    assert reason_of(WebhookRequest(headers, BODY + b" ")) is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize(
    "digest",
    [
        "md5=:1B2M2Y8AsgTpgAmY7PhCfg==:",
        "sha-256=:AAAA:",
        "sha-256=1",
        "sha-512",
        "rubbish:",
        "",
        pawapay.own_headers(BODY, NOW)["Content-Digest"] + ", sha-256=:" + "A" * 43 + "=:",
    ],
)
def test_a_signed_digest_that_proves_nothing_of_the_body_is_a_mismatch(digest: str) -> None:
    own = {**pawapay.own_headers(BODY, NOW), "Content-Digest": digest}
    seal = pawapay.ecdsa(KEY, is_der=False)
    headers = as_arrived(pawapay.signed(own, seal, authority=AUTHORITY, path="/", parameters=GOOD))

    assert reason_of(WebhookRequest(headers, BODY)) is Reason.DIGEST_MISMATCH


def test_an_algorithm_without_a_seal_is_forbidden() -> None:
    assert reason_of(a_request(), Policy("hmac-sha256", frozenset(), AUTHORITY)) is Reason.FORBIDDEN_ALGORITHM
