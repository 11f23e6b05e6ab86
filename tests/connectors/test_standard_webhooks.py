"""What is particular about a gateway that is known by its standard only."""

import asyncio
import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import GatewayUnavailable, InvalidSignature, PayoutUpdate, Reason, UnreadableEvent, WebhookRequest
from models.lifecycle import PayoutStatus
from sandbox.signers import standard_webhooks
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.sample import NOW, Headers, connector_of, signed_by
from tests.connectors.samples.standard_webhooks import SAMPLE, a_payout, an_event

STANDARD = connector_of("standard_webhooks")
PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = "whpk_" + base64.b64encode(PRIVATE.public_key().public_bytes_raw()).decode()


def v1(names: str = "Webhook", message_id: str = "msg_1") -> Headers:
    return signed_by(lambda *given_: standard_webhooks.sign(*given_, message_id, names))(
        SAMPLE.body, SAMPLE.secret, NOW
    )


def v1a() -> Headers:
    return signed_by(lambda body, _, at: standard_webhooks.sign_v1a(body, PRIVATE, at))(SAMPLE.body, "", NOW)


def verify(headers: Headers, *secrets: str) -> None:
    STANDARD.verify(WebhookRequest(headers, SAMPLE.body), list(secrets), NOW)


def refused(headers: Headers, *secrets: str) -> Reason:
    with pytest.raises(InvalidSignature) as error:
        verify(headers, *secrets)
    return error.value.reason


# --- signature


def test_the_names_of_svix_are_taken_too_and_the_id_is_theirs() -> None:
    verify(v1("Svix"), SAMPLE.secret)

    assert STANDARD.event_key(WebhookRequest(v1("Svix", "msg_svix"), SAMPLE.body)) == "msg_svix"


@pytest.mark.parametrize("name", [b"webhook-id", b"webhook-timestamp", b"webhook-signature"])
def test_no_header_of_the_other_names_can_be_slipped_in(name: bytes) -> None:
    headers = [*v1("Svix"), (name, b"msg_other")]

    assert refused(headers, SAMPLE.secret) is Reason.MISSING_HEADER


def test_a_public_key_is_parsed_once_and_not_for_every_message(monkeypatch: pytest.MonkeyPatch) -> None:
    verify(v1a(), PUBLIC, SAMPLE.secret)

    monkeypatch.setattr("connectors._standard_webhooks._public_key", lambda _: pytest.fail("parsed a second time"))
    verify(v1a(), PUBLIC, SAMPLE.secret)


def test_a_public_key_that_is_none_is_no_key() -> None:
    assert refused(v1a(), "whpk_AAAA") is Reason.NO_SECRET_CONFIGURED


def test_v1a_is_proven_with_the_public_key() -> None:
    verify(v1a(), PUBLIC)

    assert refused(v1a(), "whpk_" + base64.b64encode(bytes(32)).decode()) is Reason.SIGNATURE_MISMATCH
    assert refused(v1(), PUBLIC) is Reason.MALFORMED_HEADER


def test_a_public_key_is_never_a_shared_secret() -> None:
    """Everybody knows it: an HMAC made with it would be anybody's."""
    shared = "whsec_" + PUBLIC.removeprefix("whpk_")
    headers = signed_by(standard_webhooks.sign)(SAMPLE.body, shared, NOW)

    assert refused(headers, PUBLIC) is Reason.MALFORMED_HEADER


def test_either_kind_of_key_is_enough() -> None:
    both = [*v1a()[:2], (b"webhook-signature", v1(message_id="msg_2KWPBgLlAfxdpx2A")[2][1] + b" " + v1a()[2][1])]

    verify(both, SAMPLE.secret)
    verify(both, PUBLIC)
    verify(v1(), PUBLIC, SAMPLE.secret)
    verify(v1a(), SAMPLE.secret, PUBLIC)


def test_a_private_key_is_no_webhook_secret() -> None:
    private = "whsk_" + base64.b64encode(bytes(64)).decode()

    assert refused(v1(), private) is Reason.NO_SECRET_CONFIGURED
    assert refused(v1(), "whpk_", "whsec_") is Reason.NO_SECRET_CONFIGURED


@pytest.mark.parametrize("message_id", ["msg.1", "", "msg 1", "msg\x7f", "m" * 201, "mé"])
def test_an_id_is_short_visible_and_without_a_dot(message_id: str) -> None:
    headers = [(b"webhook-id", message_id.encode()), *v1()[1:]]

    assert refused(headers, SAMPLE.secret) is Reason.MALFORMED_HEADER
    assert STANDARD.event_key(WebhookRequest(headers, SAMPLE.body)).startswith("sha256:")


@given(text=st.binary(max_size=100), key=st.binary(max_size=40))
def test_any_signature_and_any_key_are_an_invalid_signature(text: bytes, key: bytes) -> None:
    entries = b"v1," + text + b" v1a," + text + b" v1a," + base64.b64encode(text)
    headers = [*v1()[:2], (b"webhook-signature", entries)]

    assert refused(headers, SAMPLE.secret, PUBLIC, "whpk_" + base64.b64encode(key).decode()) in Reason


# --- parse


def test_words_and_paths_are_settings() -> None:
    connector = connector_of(
        "standard_webhooks",
        statuses="paid=delivered, bounced = returned,odd=teleported",
        type_path="",
        id_path="transfer.uid",
        order_key_path="transfer.meta.ours",
        status_path="transfer.state",
        amount_path="transfer.money.cents",
        amount_unit="minor",
        currency_path="transfer.money.currency",
        occurred_at_path="at",
    )
    transfer = {"uid": 7, "meta": {"ours": "pay_01JX"}, "state": "bounced", "money": {"cents": 1250, "currency": "eur"}}

    (update,) = connector.parse(json.dumps({"transfer": transfer, "at": 1778577240}).encode())

    assert update == PayoutUpdate(
        reference="7",
        order_key="pay_01JX",
        status=PayoutStatus.RETURNED,
        said="bounced",
        occurred_at=SAMPLE.says.occurred_at,
        amount_minor=1250,
        currency="EUR",
    )
    with pytest.raises(UnreadableEvent):
        connector.parse(json.dumps({"transfer": transfer | {"state": "odd"}}).encode())


def test_the_words_may_come_as_a_table() -> None:
    connector = connector_of("standard_webhooks", statuses={"paid": "delivered"})

    assert connector.parse(an_event(a_payout(status="paid")))[0].status is PayoutStatus.DELIVERED
    with pytest.raises(UnreadableEvent):
        connector.parse(an_event(a_payout(status="delivered")))


def test_an_amount_without_a_currency_is_not_read() -> None:
    (update,) = connector_of("standard_webhooks", currency_path="").parse(an_event(a_payout(currency=None)))

    assert (update.amount_minor, update.currency) == (None, None)


# --- calls


def test_an_answer_is_read_by_the_same_paths() -> None:
    http = ScriptedHttp(a_reply(200, a_payout(status="delivered", failure=None)))

    found = asyncio.run(STANDARD.fetch("pay_01JY", "pay_01JX", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.reference, found.status, found.amount_minor) == ("pay_01JY", PayoutStatus.DELIVERED, 25000)
    assert http.sent[0].url == "https://gateway.invalid/v1/payouts/pay_01JY"
    assert http.sent[0].headers == {"Authorization": "Bearer invented"}


def test_without_a_path_nothing_is_asked() -> None:
    http = ScriptedHttp(a_reply(404, {}))

    with pytest.raises(GatewayUnavailable, match="read_path"):
        asyncio.run(connector_of("standard_webhooks", read_path="").fetch("pay_01JY", "pay_01JX", http))

    assert http.sent == []
