"""What a TrueLayer signature must claim, and what its events and answers say."""

import asyncio
import base64
import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from connectors._base import GatewayUnavailable, InvalidSignature, PayoutUpdate, Reason, Verified, WebhookRequest
from models.lifecycle import PayoutStatus, join
from sandbox.signers import truelayer
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.keys import an_elliptic_key, as_arrived, pem
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.truelayer import JKU, KEY, KEY_ID, SAMPLE, TOKEN, a_jwk, an_event

TRUELAYER = connector_of("truelayer")
SIGNED = {"X-Tl-Webhook-Timestamp": "2026-05-12T09:15:00Z", "Content-Type": "application/json"}
HONEST = truelayer.claims(KEY_ID, SIGNED, JKU)

PAYOUT = {
    "id": "0cd1b0f7-71bc-4d24-b209-95259dadcc20",
    "amount_in_minor": 25000,
    "currency": "EUR",
    "status": "failed",
    "failure_reason": "returned",
    "failed_at": "2026-05-13T09:00:00.000Z",
    "metadata": {"order_key": "pay_01JX"},
}


def a_request(
    claimed: dict[str, Any] = HONEST, path: str = "/hooks", signed: dict[str, str] = SIGNED, key: Any = KEY
) -> WebhookRequest:
    """Return a request signed by the right key, whatever it claims."""
    value = truelayer.signature(SAMPLE.body, key, claimed, path, signed)
    return WebhookRequest(as_arrived({"Tl-Signature": value, **signed}), SAMPLE.body, "POST", path)


def reason_of(request: WebhookRequest, secret: str = SAMPLE.secret) -> Reason | None:
    try:
        assert TRUELAYER.verify(request, [secret], NOW) == Verified(NOW)
    except InvalidSignature as refused:
        return refused.reason
    return None


def with_signature(value: str | bytes) -> WebhookRequest:
    text = value.encode() if isinstance(value, str) else value
    return WebhookRequest([(b"tl-signature", text), *as_arrived(SIGNED)], SAMPLE.body, "POST", "/hooks")


def encoded(claimed: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(claimed).encode()).decode().rstrip("=")


# --- what it claims


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "HS256", "HS512", "RS512", "ES256", "PS512", "es512", "", None, 7]
)
def test_one_algorithm_is_allowed(algorithm: object) -> None:
    assert reason_of(a_request(HONEST | {"alg": algorithm})) is Reason.FORBIDDEN_ALGORITHM


def test_a_public_key_is_no_shared_secret() -> None:
    head = encoded(HONEST | {"alg": "HS512"})
    payload = base64.urlsafe_b64encode(b"POST /hooks\n" + SAMPLE.body).rstrip(b"=")
    seal = hmac.digest(pem(KEY).encode(), head.encode() + b"." + payload, hashlib.sha512)
    value = f"{head}..{base64.urlsafe_b64encode(seal).decode().rstrip('=')}"

    assert reason_of(with_signature(value), pem(KEY)) is Reason.FORBIDDEN_ALGORITHM


@pytest.mark.parametrize(
    "jku",
    [
        None,
        *("", 7, ["https://webhooks.truelayer.com/.well-known/jwks"], f"{JKU}/", f"{JKU}?", f"{JKU}#", f" {JKU}"),
        *(JKU.replace("https", "http"), JKU.upper(), JKU.replace("webhooks", "WEBHOOKS"), JKU.replace(".com", ".com.")),
        JKU.replace(".com", ".com.evil.test"),
        JKU.replace(".com", ".com:443"),
        JKU.replace("webhooks", "webhooks.truelayer.com@evil"),
        JKU.replace("https://", "https://user@"),
        JKU.replace("/.well-known", "/./.well-known"),
        JKU.replace("truelayer", "truelayer-sandbox"),
        JKU.replace("e", "\u0435"),
        "https://evil.test/?https://webhooks.truelayer.com/.well-known/jwks",
    ],
)
def test_a_lookalike_of_the_key_sets_address_is_not_trusted(jku: object) -> None:
    claimed = {name: value for name, value in HONEST.items() if name != "jku"}

    assert reason_of(a_request(claimed if jku is None else claimed | {"jku": jku})) is Reason.UNTRUSTED_KEY_SOURCE


@pytest.mark.parametrize("keyid", ["other", "", None, 7, [KEY_ID], KEY_ID.upper()])
def test_a_key_that_is_not_pinned_is_unknown(keyid: object) -> None:
    assert reason_of(a_request(HONEST | {"kid": keyid})) in {Reason.UNKNOWN_KEY, Reason.MALFORMED_HEADER}


def test_a_key_in_the_header_itself_is_no_key() -> None:
    mallory = an_elliptic_key(ec.SECP521R1, 9)

    assert reason_of(a_request(HONEST | {"jwk": a_jwk(mallory)}, key=mallory)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("version", ["1", 2, None, "", "2.0"])
def test_version_one_which_signs_the_body_alone_is_refused(version: object) -> None:
    assert reason_of(a_request(HONEST | {"tl_version": version})) is Reason.MALFORMED_HEADER


@pytest.mark.parametrize(
    "names", [7, ["A"], None, "A,,B", ",", "A, B", "\ud800", "é", "X\n", "Content-Type,content-type"]
)
def test_a_list_of_headers_that_is_none_is_malformed(names: object) -> None:
    claimed = HONEST | {"tl_headers": f"{HONEST['tl_headers']},{names}" if isinstance(names, str) else names}

    assert reason_of(a_request(claimed)) is Reason.MALFORMED_HEADER


def test_the_timestamp_must_be_covered_and_fresh() -> None:
    bare = {"Content-Type": "application/json"}
    odd = SIGNED | {"X-Tl-Webhook-Timestamp": "just now"}

    assert reason_of(a_request(truelayer.claims(KEY_ID, bare, JKU), signed=bare)) is Reason.UNCOVERED_COMPONENT
    assert reason_of(a_request(signed=odd)) is Reason.MALFORMED_HEADER
    for seconds, reason in ((301, Reason.TIMESTAMP_TOO_OLD), (-301, Reason.TIMESTAMP_IN_FUTURE), (300, None)):
        at = (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
        request = a_request(signed=SIGNED | {"X-Tl-Webhook-Timestamp": at})
        if reason is None:
            TRUELAYER.verify(request, [SAMPLE.secret], NOW)
        else:
            assert reason_of(request) is reason


# --- what it says


def test_a_payout_that_the_bank_sends_back_is_returned() -> None:
    said = [TRUELAYER.parse(an_event(word))[0].status for word in ("failed", "executed")]

    assert join(*said) is PayoutStatus.RETURNED  # type: ignore[arg-type]


def test_a_payout_is_asked_about_behind_one_login() -> None:
    http = ScriptedHttp(a_reply(200, TOKEN), a_reply(200, PAYOUT))

    for _ in range(2):
        found = asyncio.run(TRUELAYER.fetch("a/b", "", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.status, found.amount_minor, found.currency) == (PayoutStatus.FAILED, 25000, "EUR")
    assert (found.order_key, found.failure_code) == ("pay_01JX", "returned")
    assert [sent.url for sent in http.sent] == [
        "https://auth.truelayer.com/connect/token",
        "https://api.truelayer.com/v3/payouts/a%2Fb",
        "https://api.truelayer.com/v3/payouts/a%2Fb",
    ]
    assert b"client_secret=invented+too" in (http.sent[0].body or b"")
    assert http.sent[1].headers["Authorization"] == f"Bearer {TOKEN['access_token']}"


def test_a_token_that_is_refused_is_renewed_once() -> None:
    http = ScriptedHttp(a_reply(200, TOKEN), a_reply(401), a_reply(200, TOKEN), a_reply(200, PAYOUT))

    assert isinstance(asyncio.run(TRUELAYER.fetch("a", "", http)), PayoutUpdate)
    assert len(http.sent) == 4


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": 7}, [], "x"])
def test_a_login_without_a_token_teaches_nothing(answer: object) -> None:
    with pytest.raises(GatewayUnavailable):
        asyncio.run(TRUELAYER.fetch("a", "", ScriptedHttp(a_reply(200, answer))))
