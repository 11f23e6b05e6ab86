"""What is particular about Adyen, its classic items above all."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import GatewayUnavailable, InvalidSignature, PayoutUpdate, Reason, UnreadableEvent, WebhookRequest
from models.lifecycle import PayoutStatus
from sandbox.signers import adyen
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.adyen import SAMPLE, a_transfer, an_event, an_item

ADYEN = connector_of("adyen")

SIGNED = ("pspReference", "originalReference", "merchantAccountCode", "merchantReference", "eventCode", "success")


def items(*found: dict[str, Any]) -> bytes:
    return adyen.sign_items(list(found), SAMPLE.secret)


def verify(body: bytes) -> None:
    ADYEN.verify(WebhookRequest([], body), [SAMPLE.secret], NOW)


def refused(body: bytes) -> Reason:
    with pytest.raises(InvalidSignature) as error:
        verify(body)
    return error.value.reason


def changed(body: bytes, index: int = 0, **changes: Any) -> bytes:
    message = json.loads(body)
    message["notificationItems"][index]["NotificationRequestItem"] |= changes
    return json.dumps(message).encode()


# --- items


def test_items_are_proven_one_by_one() -> None:
    body = items(an_item(), an_item(pspReference="2"), an_item(pspReference="3"))

    verify(body)

    assert refused(changed(body, 2, pspReference="4")) is Reason.SIGNATURE_MISMATCH
    assert refused(changed(body, 1, additionalData={})) is Reason.MISSING_HEADER


@pytest.mark.parametrize("name", SIGNED)
def test_no_signed_field_can_be_changed(name: str) -> None:
    assert refused(changed(items(an_item()), **{name: "X"})) is Reason.SIGNATURE_MISMATCH
    assert refused(changed(items(an_item()), **{name: None})) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize("amount", [{"currency": "EUR", "value": 25001}, {"currency": "USD", "value": 25000}, None, []])
def test_the_amount_is_signed(amount: object) -> None:
    assert refused(changed(items(an_item()), amount=amount)) is Reason.SIGNATURE_MISMATCH


@pytest.mark.parametrize(
    "moved",
    [
        {"merchantAccountCode": "M:R1", "merchantReference": "R2"},
        {"originalReference": "O:M", "merchantAccountCode": "R1", "merchantReference": "R2"},
        {"merchantAccountCode": "M", "merchantReference": "R1", "amount": {"value": "R2:25000", "currency": "EUR"}},
    ],
)
def test_text_cannot_move_from_one_field_into_another(moved: dict[str, Any]) -> None:
    genuine = items(an_item(originalReference="O", merchantAccountCode="M", merchantReference="R1:R2"))
    verify(genuine)

    assert refused(changed(genuine, **moved)) in {Reason.MALFORMED_HEADER, Reason.SIGNATURE_MISMATCH}


def test_what_is_unsigned_in_an_item_is_neither_read_nor_makes_it_another_message() -> None:
    genuine = items(an_item())
    forged = changed(genuine, reason="Paid!", eventDate="2030-01-01T00:00:00Z", operations=["REFUND"])

    verify(forged)

    assert ADYEN.parse(forged) == ADYEN.parse(genuine)
    assert ADYEN.event_key(WebhookRequest([], forged)) == ADYEN.event_key(WebhookRequest([], genuine))


def test_items_in_another_order_or_number_are_another_message() -> None:
    one, two = an_item(), an_item(pspReference="2")

    keys = {ADYEN.event_key(WebhookRequest([], items(*found))) for found in ([one], [two], [one, two], [two, one])}

    assert len(keys) == 4


def test_a_genuine_item_does_not_lend_its_signature_to_a_transfer_in_the_same_body() -> None:
    message = json.loads(items(an_item()))
    body = json.dumps(message | json.loads(an_event(a_transfer(status="credited")))).encode()

    verify(body)

    assert [update.reference for update in ADYEN.parse(body)] == ["8815131768219972"]


def test_items_are_read_as_payouts() -> None:
    body = items(an_item(), an_item(eventCode="REPORT_AVAILABLE"), an_item(eventCode="PAIDOUT_REVERSED"))

    sent, reversed_ = ADYEN.parse(body)

    assert sent == PayoutUpdate(
        reference="8815131768219972",
        order_key="pay_01JX",
        status=PayoutStatus.BROADCAST,
        said="PAYOUT_THIRDPARTY:true",
        amount_minor=25000,
        currency="EUR",
    )
    assert reversed_.status is PayoutStatus.RETURNED


@pytest.mark.parametrize(
    ("code", "success", "status"),
    [
        ("PAYOUT_THIRDPARTY", "false", PayoutStatus.FAILED),
        ("PAYOUT_DECLINE", True, PayoutStatus.CANCELED),
        ("PAYOUT_EXPIRE", "true", PayoutStatus.CANCELED),
        ("PAYOUT_DECLINE", "false", None),
    ],
)
def test_code_and_success_are_the_word(code: str, success: object, status: PayoutStatus | None) -> None:
    (update,) = ADYEN.parse(changed(items(an_item(eventCode=code)), success=success))

    assert update.status is status


def test_an_unknown_payout_code_is_for_a_person() -> None:
    with pytest.raises(UnreadableEvent):
        ADYEN.parse(items(an_item(eventCode="PAYOUT_TELEPORTED")))


@pytest.mark.parametrize("count", [0, 101])
def test_a_message_holds_some_items_and_not_too_many(count: int) -> None:
    assert refused(items(*[an_item()] * count)) is Reason.MISSING_HEADER


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@given(name=st.sampled_from([*SIGNED, "amount", "additionalData"]), value=anything)
def test_any_value_in_any_signed_field_is_refused(name: str, value: Any) -> None:
    item = an_item()
    signed_as = {"amount": [item["amount"]]}.get(name, [item.get(name), {"true": True}.get(str(item.get(name)))])
    if value in signed_as:
        return

    assert refused(changed(items(item), **{name: value})) in Reason


@given(st.binary() | anything.map(lambda value: json.dumps({"notificationItems": value}).encode()))
def test_any_body_without_a_header_is_refused(body: bytes) -> None:
    assert refused(body) in Reason


# --- transfers


def test_another_protocol_is_refused() -> None:
    ((name, text), _) = SAMPLE.request().headers
    headers = [(name, text), (b"protocol", b"HmacSHA1")]

    with pytest.raises(InvalidSignature) as error:
        ADYEN.verify(WebhookRequest(headers, SAMPLE.body), [SAMPLE.secret], NOW)

    assert error.value.reason is Reason.FORBIDDEN_ALGORITHM


def test_a_key_is_hex_of_either_case_and_nothing_else() -> None:
    ADYEN.verify(SAMPLE.request(), [SAMPLE.secret.lower()], NOW)
    with pytest.raises(InvalidSignature) as error:
        ADYEN.verify(SAMPLE.request(), ["no hex"], NOW)

    assert error.value.reason is Reason.NO_SECRET_CONFIGURED


@pytest.mark.parametrize(
    "tracking",
    [{"type": "confirmation", "status": "credited"}, {"type": "estimation", "estimatedArrivalTime": "2026-05-14"}],
)
def test_tracking_says_that_a_booked_transfer_arrived_or_when_it_will(tracking: dict[str, str]) -> None:
    (update,) = ADYEN.parse(an_event(a_transfer(status="booked", tracking=tracking)))

    arrived = tracking.get("status") == "credited"
    assert update.status is (PayoutStatus.DELIVERED if arrived else PayoutStatus.BROADCAST)
    assert (update.estimated_delivery_at is None) == arrived


@pytest.mark.parametrize(
    "changes", [{"direction": "incoming"}, {"category": "internal"}, {"category": "platformPayment"}]
)
def test_what_comes_in_or_stays_inside_is_no_payout(changes: dict[str, str]) -> None:
    assert ADYEN.parse(an_event(a_transfer(**changes))) == []


def test_which_categories_are_payouts_is_a_setting() -> None:
    assert connector_of("adyen", categories="internal").parse(an_event(a_transfer(category="internal")))


def test_the_sequence_number_tells_messages_apart() -> None:
    keys = {ADYEN.event_key(WebhookRequest([], an_event(a_transfer(sequenceNumber=number)))) for number in (1, 2)}

    assert keys == {f"balancePlatform.transfer.updated:48POO45WGTDEP0T7:{number}" for number in (1, 2)}


def test_the_classic_api_has_nothing_to_read_and_so_nothing_is_missing() -> None:
    http = ScriptedHttp(a_reply(404, {}))

    with pytest.raises(GatewayUnavailable):
        asyncio.run(connector_of("adyen", can_read=False).fetch("8815131768219972", "pay_01JX", http))

    assert http.sent == []


def test_adyens_own_minor_units_become_those_of_iso_4217() -> None:
    (update,) = ADYEN.parse(an_event(a_transfer(amount={"currency": "CLP", "value": 100000})))

    assert (update.amount_minor, update.currency) == (1000, "CLP")
