"""What is particular about Coinbase."""

import asyncio
import base64
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, SECP384R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors import connector_class
from connectors._base import Account, GatewayUnavailable, InvalidSignature, Reason, WebhookRequest
from models.lifecycle import PayoutStatus
from sandbox.signers import coinbase
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.sample import NOW, Headers, connector_of, signed_by
from tests.connectors.samples.coinbase import ED25519_SECRET, SAMPLE, a_transfer, an_event

COINBASE = connector_of("coinbase")


def refused(headers: Headers) -> Reason:
    with pytest.raises(InvalidSignature) as error:
        COINBASE.verify(WebhookRequest(headers, SAMPLE.body), [SAMPLE.secret], NOW)
    return error.value.reason


def test_version_0_still_counts_where_there_is_no_version_1() -> None:
    headers = signed_by(coinbase.sign_v0)(SAMPLE.body, SAMPLE.secret, NOW)

    assert COINBASE.verify(WebhookRequest(headers, SAMPLE.body), [SAMPLE.secret], NOW)


def test_version_0_does_not_stand_in_for_a_version_1_that_does_not_fit() -> None:
    ((name, text),) = signed_by(coinbase.sign_v0)(SAMPLE.body, SAMPLE.secret, NOW)

    assert refused([(name, text + b",v1=" + b"0" * 64)]) is Reason.SIGNATURE_MISMATCH


def test_an_announced_header_that_is_missing_refuses_version_0_too() -> None:
    ((name, text),) = signed_by(coinbase.sign_v0)(SAMPLE.body, SAMPLE.secret, NOW)

    assert refused([(name, text + b",h=x-event-id")]) is Reason.MISSING_HEADER


def test_a_covered_header_comes_once() -> None:
    assert refused([*SAMPLE.request().headers, (b"x-event-id", b"other")]) is Reason.MALFORMED_HEADER


@pytest.mark.parametrize("names", [b'{"a":', b"x-event-id  host", b"a" * 65, b" ".join([b"host"] * 33)])
def test_a_covered_name_is_a_plain_word(names: bytes) -> None:
    ((name, text), *rest) = SAMPLE.request().headers
    changed = text.replace(b"h=content-type x-event-id", b"h=" + names)

    assert refused([(name, changed), (names, b"1"), *rest]) is Reason.MALFORMED_HEADER


def test_both_spellings_of_the_event_id_are_one() -> None:
    spelled = SAMPLE.body.replace(b'"eventId"', b'"eventID"')

    assert COINBASE.event_key(WebhookRequest([], spelled)) == COINBASE.event_key(SAMPLE.request())


def test_a_disbursement_is_a_payout() -> None:
    disbursement = {
        "disbursementId": "disbursement_1",
        "source": {"accountId": "account_1", "asset": "usdc"},
        "target": {"coinbaseUserId": "user_1"},
        "amount": "25.00",
        "asset": "usdc",
        "status": "failed",
        "externalReferenceId": "pay_01JX",
        "error": {"code": "insufficient_funds", "message": "Not enough."},
        "updatedAt": "2026-05-12T09:14:00Z",
    }
    http = ScriptedHttp(a_reply(200, disbursement))

    (update,) = COINBASE.parse(an_event(disbursement, eventType="acceptance.disbursement.failed"))

    assert (update.reference, update.order_key) == ("disbursement_1", "pay_01JX")
    assert (update.status, update.failure_code) == (PayoutStatus.FAILED, "insufficient_funds")
    assert (update.amount_minor, update.currency) == (25_000_000, "USDC")
    assert asyncio.run(COINBASE.fetch("disbursement_1", "pay_01JX", http)) == update
    assert http.sent[0].url == "https://api.cdp.coinbase.com/platform/v2/disbursements/disbursement_1"


def test_what_comes_from_the_chain_is_a_deposit() -> None:
    assert COINBASE.parse(an_event(a_transfer(source={"address": "0x00", "network": "base"}))) == []


def parts_of(token: str) -> tuple[Any, Any, bytes, bytes]:
    message, _, signature = token.removeprefix("Bearer ").rpartition(".")
    header, claims, proof = (base64.urlsafe_b64decode(part + "==") for part in (*message.split("."), signature))
    return orjson.loads(header), orjson.loads(claims), message.encode(), proof


def token_for(secret: str) -> str:
    account = Account(credentials={"api_key_id": "key-1", "api_key_secret": secret})
    http = ScriptedHttp(a_reply(404, {}))
    asyncio.run(connector_class("coinbase")(account).fetch("transfer_1", "pay_01JX", http))
    return http.sent[0].headers["Authorization"]


def test_a_call_carries_a_token_for_itself_signed_with_ed25519() -> None:
    seed = base64.b64decode(ED25519_SECRET)[:32]

    header, claims, message, proof = parts_of(token_for(ED25519_SECRET))

    Ed25519PrivateKey.from_private_bytes(seed).public_key().verify(proof, message)
    assert (header["alg"], header["kid"], claims["sub"], claims["iss"]) == ("EdDSA", "key-1", "key-1", "cdp")
    assert claims["uris"] == ["GET api.cdp.coinbase.com/platform/v2/transfers/transfer_1"]
    assert claims["exp"] - claims["nbf"] == 120


@pytest.mark.parametrize("newline", ["\n", "\\n"])
def test_an_older_key_signs_with_es256(newline: str) -> None:
    key = generate_private_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()

    header, _, message, proof = parts_of(token_for(pem.replace("\n", newline)))

    r, s = int.from_bytes(proof[:32]), int.from_bytes(proof[32:])
    key.public_key().verify(encode_dss_signature(r, s), message, ECDSA(SHA256()))
    assert header["alg"] == "ES256"


def test_a_secret_that_is_no_key_sends_nothing() -> None:
    other = generate_private_key(SECP384R1())
    pem = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    for secret in ("no key", "AAAA", "-----BEGIN EC PRIVATE KEY-----", pem):
        with pytest.raises(GatewayUnavailable, match="api_key_secret"):
            token_for(secret)
