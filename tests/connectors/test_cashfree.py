"""What is particular about Cashfree, its version 1 above all."""

import asyncio
import json
import string
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors._base import InvalidSignature, PayoutUpdate, Reason, UnreadableEvent, WebhookRequest
from connectors._cashfree_v1 import _sealed
from models.lifecycle import PayoutStatus
from sandbox.signers import cashfree
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.cashfree import SAMPLE, a_transfer, an_event

V2 = connector_of("cashfree")
V1 = connector_of("cashfree", version="v1")

FIELDS = {
    "event": "TRANSFER_REVERSED",
    "transferId": "pay_01JX",
    "referenceId": "123456",
    "eventTime": "2026-05-12 14:44:00",
    "reason": "Invalid account",
}


def a_form(**changes: str) -> bytes:
    return cashfree.sign_v1(FIELDS | changes, SAMPLE.secret)


# --- the two words that change places


@pytest.mark.parametrize(
    ("word", "v1", "v2"),
    [
        ("TRANSFER_SUCCESS", PayoutStatus.BROADCAST, PayoutStatus.DELIVERED),
        ("TRANSFER_ACKNOWLEDGED", PayoutStatus.DELIVERED, PayoutStatus.BROADCAST),
    ],
)
def test_success_and_acknowledged_change_places_between_the_versions(
    word: str, v1: PayoutStatus, v2: PayoutStatus
) -> None:
    assert V1.parse(a_form(event=word))[0].status is v1
    assert V2.parse(an_event(a_transfer(status_code=None), word))[0].status is v2


@pytest.mark.parametrize("word", ["TRANSFER_SUCCESS", "TRANSFER_ACKNOWLEDGED"])
@pytest.mark.parametrize(
    ("code", "status"),
    [("COMPLETED", PayoutStatus.DELIVERED), ("SENT_TO_BENEFICIARY", PayoutStatus.BROADCAST)],
)
def test_a_precise_code_decides_whatever_the_word(word: str, code: str, status: PayoutStatus) -> None:
    assert V2.parse(an_event(a_transfer(status_code=code), word))[0].status is status


@pytest.mark.parametrize(("acknowledged", "status"), [("1", PayoutStatus.DELIVERED), ("0", PayoutStatus.BROADCAST)])
def test_in_version_1_acknowledged_tells_debited_from_credited(acknowledged: str, status: PayoutStatus) -> None:
    assert V1.parse(a_form(event="TRANSFER_SUCCESS", acknowledged=acknowledged))[0].status is status


def test_the_version_is_configured_and_not_the_senders_choice() -> None:
    with pytest.raises(InvalidSignature):
        V2.verify(WebhookRequest([], a_form()), [SAMPLE.secret], NOW)
    with pytest.raises(InvalidSignature):
        V1.verify(SAMPLE.request(), [SAMPLE.secret], NOW)


# --- version 1


def test_of_version_1_only_what_no_cut_can_change_is_read() -> None:
    assert V1.parse(a_form()) == [
        PayoutUpdate(reference=None, order_key="pay_01JX", status=PayoutStatus.RETURNED, said="TRANSFER_REVERSED")
    ]


def test_another_cut_of_the_same_text_fits_and_is_the_same_message() -> None:
    signature = parse_qs(a_form().decode())["signature"][0]
    moved = FIELDS | {"reason": "Invalid account1", "referenceId": "23456", "signature": signature}
    request = WebhookRequest([], urlencode(moved).encode())

    V1.verify(request, [SAMPLE.secret], NOW)

    assert V1.event_key(request) == V1.event_key(WebhookRequest([], a_form()))
    assert V1.parse(request.body) == V1.parse(a_form())


def test_version_1_tells_of_other_things_too() -> None:
    assert V1.parse(cashfree.sign_v1({"event": "LOW_BALANCE_ALERT", "currentBalance": "500"}, SAMPLE.secret)) == []


NO_EVENTS = [
    *(b"", b"{}", b"[]", b"event", b"event=%ff", b"\xff", b"&".join([b"a=1"] * 65)),
    *(b"event=TRANSFER_SUCCESS", b"event=teleported&transferId=1", b"event=TRANSFER_FAILED&transferId=%00"),
    b'{"event":"TRANSFER_FAILED","transferId":["x"]}',
]


@pytest.mark.parametrize("body", NO_EVENTS)
def test_a_form_that_is_no_event_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        V1.parse(body)


json_or_text = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers(), max_size=1))


forms = st.dictionaries(st.text(), st.text()).map(lambda fields: urlencode(fields, errors="replace").encode())


@given(st.binary() | forms)
def test_any_body_is_an_invalid_signature_in_version_1(body: bytes) -> None:
    with pytest.raises(InvalidSignature):
        V1.verify(WebhookRequest([], body), [SAMPLE.secret], NOW)
    assert len(V1.event_key(WebhookRequest([], body))) <= 200


@given(name=st.sampled_from([*FIELDS, "signature"]), value=json_or_text)
def test_any_value_in_any_field_is_an_invalid_signature_in_version_1(name: str, value: Any) -> None:
    fields = {key: texts[0] for key, texts in parse_qs(a_form().decode()).items()}
    if fields[name] == value:
        return
    body = json.dumps(fields | {name: value}).encode()

    with pytest.raises(InvalidSignature):
        V1.verify(WebhookRequest([], body), [SAMPLE.secret], NOW)


plain_names = st.text(string.ascii_letters, min_size=1).filter(lambda name: name != "signature")


@given(st.dictionaries(plain_names, st.text(st.characters(codec="utf-8")), min_size=1))
def test_what_version_1_seals_is_what_the_standard_library_reads_of_the_form(fields: dict[str, str]) -> None:
    body = urlencode(fields).encode()

    sealed, signature = _sealed(body)

    read = dict(parse_qsl(body.decode(), keep_blank_values=True))
    assert sealed.decode() == "".join(read[name] for name in sorted(read))
    assert signature == b""


@pytest.mark.parametrize("torn", ["transferId=%&reason=41", "transferId=%4&reason=1", "reason=1&transferId=%4"])
def test_a_value_that_ends_within_a_quoted_byte_cannot_become_part_of_the_next(torn: str) -> None:
    with pytest.raises(InvalidSignature) as refused:
        V1.verify(WebhookRequest([], f"event=TRANSFER_FAILED&{torn}&signature=AAAA".encode()), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MALFORMED_HEADER


@pytest.mark.parametrize("body", [b"signature=AAAA&%65vent=x", b"signature=AAAA&event=x&event=y", b"signature=AAAA&x"])
def test_a_form_that_no_encoder_writes_is_malformed(body: bytes) -> None:
    with pytest.raises(InvalidSignature) as refused:
        V1.verify(WebhookRequest([], body), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MALFORMED_HEADER


# --- version 2


def test_a_rejected_batch_is_for_a_person() -> None:
    with pytest.raises(UnreadableEvent):
        V2.parse(an_event({"batch_transfer_id": "b1", "status": "REJECTED"}, "BULK_TRANSFER_REJECTED"))


def test_what_went_wrong_is_told() -> None:
    failed = a_transfer(status="FAILED", status_code="IMPS_MODE_FAIL", status_description="No IMPS there.")

    (update,) = V2.parse(an_event(failed, "TRANSFER_FAILED"))

    assert (update.failure_code, update.failure_message) == ("IMPS_MODE_FAIL", "No IMPS there.")


@pytest.mark.parametrize(
    ("reference", "query"), [("123456", {"cf_transfer_id": ["123456"]}), (None, {"transfer_id": ["pay_01JX"]})]
)
def test_a_transfer_is_asked_for_by_either_id(reference: str | None, query: dict[str, list[str]]) -> None:
    http = ScriptedHttp(a_reply(200, a_transfer(status_code="SENT_TO_BENEFICIARY", updated_on="2026-05-12T09:14:00Z")))

    found = asyncio.run(V2.fetch(reference, "pay_01JX", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.status, found.said) == (PayoutStatus.BROADCAST, "SUCCESS")
    assert parse_qs(urlsplit(http.sent[0].url).query) == query
    assert http.sent[0].headers == {
        "x-client-id": "CF_invented",
        "x-client-secret": "cfsk_invented",
        "x-api-version": "2024-01-01",
    }
