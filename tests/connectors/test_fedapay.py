"""What is particular about FedaPay."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors._base import (
    Accepted,
    HttpReply,
    InvalidSignature,
    NoReply,
    NotFound,
    NotSent,
    Order,
    OutcomeUnknown,
    PayoutUpdate,
    Reason,
    Rejected,
    UnreadableEvent,
    WebhookRequest,
)
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import ScriptedHttp, a_reply, everything
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.fedapay import SAMPLE, a_payout, an_event

FEDAPAY = connector_of("fedapay")

((_, HEADER),) = SAMPLE.request().headers
TIME, SEAL = HEADER.split(b",")


@pytest.mark.parametrize(
    "value",
    [
        HEADER,
        SEAL + b"," + TIME,
        TIME + b",s=rubbish," + SEAL,
        TIME + b",s=" + b"0" * 64 + b"," + SEAL,
        HEADER + b",v1=bad,x",
    ],
)
def test_one_good_signature_among_others_verifies(value: bytes) -> None:
    FEDAPAY.verify(WebhookRequest([(b"x-fedapay-signature", value)], SAMPLE.body), [SAMPLE.secret], NOW)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (HEADER + b"," + TIME, Reason.MALFORMED_HEADER),
        (TIME + b"," + HEADER, Reason.MALFORMED_HEADER),
        (SEAL, Reason.MALFORMED_HEADER),
        (TIME, Reason.MALFORMED_HEADER),
        (b"t=," + SEAL, Reason.MALFORMED_HEADER),
        (b"t=-1," + SEAL, Reason.MALFORMED_HEADER),
        (b"t=1e9," + SEAL, Reason.MALFORMED_HEADER),
        (b"t=" + b"9" * 5_000 + b"," + SEAL, Reason.MALFORMED_HEADER),
        (b"t=99999999999," + SEAL, Reason.SIGNATURE_MISMATCH),
        (TIME + b",s=" + SEAL[2:].upper(), Reason.BAD_ENCODING),
        (TIME + b",s=", Reason.SIGNATURE_MISMATCH),
        (TIME + b"," + b",".join([b"s=00"] * 17), Reason.MALFORMED_HEADER),
    ],
)
def test_any_other_header_is_refused_with_its_reason(value: bytes, reason: Reason) -> None:
    with pytest.raises(InvalidSignature) as refused:
        FEDAPAY.verify(WebhookRequest([(b"x-fedapay-signature", value)], SAMPLE.body), [SAMPLE.secret], NOW)

    assert refused.value.reason is reason


def test_a_repeated_header_is_malformed() -> None:
    request = WebhookRequest([(b"x-fedapay-signature", HEADER)] * 2, SAMPLE.body)

    with pytest.raises(InvalidSignature) as refused:
        FEDAPAY.verify(request, [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MALFORMED_HEADER


@pytest.mark.parametrize("seconds", [300, -300])
def test_five_minutes_either_way_are_tolerated_and_no_second_more(seconds: int) -> None:
    more = seconds + (1 if seconds > 0 else -1)

    FEDAPAY.verify(SAMPLE.request(), [SAMPLE.secret], NOW + timedelta(seconds=seconds))
    with pytest.raises(InvalidSignature):
        FEDAPAY.verify(SAMPLE.request(), [SAMPLE.secret], NOW + timedelta(seconds=more))


def test_the_tolerance_is_a_setting_of_the_integration() -> None:
    with pytest.raises(InvalidSignature):
        connector_of("fedapay", tolerance_seconds=5).verify(
            SAMPLE.request(), [SAMPLE.secret], NOW + timedelta(seconds=6)
        )


def test_two_events_of_one_change_are_two_messages() -> None:
    keys = [
        FEDAPAY.event_key(WebhookRequest([], an_event({}, name=name))) for name in ("payout.sent", "payout.updated")
    ]

    assert keys == ["904213:payout.sent", "904213:payout.updated"]


def test_an_event_may_be_named_by_its_type_and_hold_its_entity_as_text() -> None:
    assert FEDAPAY.parse(an_event(json.dumps(a_payout()), name=None, type="payout.updated")) == [SAMPLE.says]


def test_a_wrapped_entity_is_unwrapped() -> None:
    assert FEDAPAY.parse(an_event({"v1/payout": a_payout()})) == [SAMPLE.says]


def test_an_event_without_its_entity_is_a_hint() -> None:
    assert FEDAPAY.parse(an_event(None)) == [PayoutUpdate(reference="1377", status=None, said="payout.sent")]


@pytest.mark.parametrize("entity", ["not json", "[" * 5_000, "[1]", 7, [1], {"id": 1}, a_payout(id=None)])
def test_an_entity_that_is_no_payout_is_unreadable(entity: object) -> None:
    with pytest.raises(UnreadableEvent):
        FEDAPAY.parse(an_event(entity))


@pytest.mark.parametrize("word", ["pending", "scheduled", "started", "processing"])
def test_a_payout_deleted_in_flight_is_canceled(word: str) -> None:
    (update,) = FEDAPAY.parse(an_event(a_payout(status=word, deleted_at="2026-01-05 09:41:07")))

    assert (update.status, update.said) == (PayoutStatus.CANCELED, word)


def test_deleting_the_record_of_a_sent_payout_brings_no_money_back() -> None:
    (update,) = FEDAPAY.parse(an_event(a_payout(deleted_at="2026-01-05 09:41:07")))

    assert update.status is PayoutStatus.DELIVERED


def test_a_failure_says_its_cause() -> None:
    (update,) = FEDAPAY.parse(an_event(a_payout(status="failed", last_error_code=402, last_error_message="No funds")))

    assert (update.failure_code, update.failure_message) == ("402", "No funds")


@pytest.mark.parametrize("written", ["2026-01-05T09:41:07.816Z", "2026-01-05 09:41:07", "2026-01-05T10:41:07+01:00"])
def test_times_are_utc_however_they_are_written(written: str) -> None:
    (update,) = FEDAPAY.parse(an_event(a_payout(updated_at=written)))

    assert update.occurred_at is not None
    assert update.occurred_at.replace(microsecond=0) == datetime(2026, 1, 5, 9, 41, 7, tzinfo=UTC)


@pytest.mark.parametrize("amount", [2000.5, 2000.0, -1, True, "2000.5", 10**30, 10**19, [], {}])
def test_an_amount_that_is_no_whole_xof_is_unreadable(amount: object) -> None:
    with pytest.raises(UnreadableEvent, match="amount"):
        FEDAPAY.parse(an_event(a_payout(amount=amount)))


def test_the_currency_is_included_or_a_setting() -> None:
    (included,) = FEDAPAY.parse(an_event(a_payout(currency={"iso": "GNF"})))
    (configured,) = connector_of("fedapay", currency="GNF").parse(an_event(a_payout()))

    assert included.currency == configured.currency == "GNF"


def test_a_submission_creates_and_then_starts() -> None:
    http = ScriptedHttp(*SAMPLE.accepted)

    submission = asyncio.run(FEDAPAY.submit(SAMPLE.order, http))

    create, start = http.sent
    assert (create.method, create.url) == ("POST", "https://api.fedapay.com/v1/payouts")
    assert create.json == {
        "customer": {"id": 5},
        "mode": "mtn",
        "amount": 2000,
        "currency": {"iso": "XOF"},
        "description": "May run",
        "merchant_reference": "pay_01JX",
    }
    assert (start.method, start.url) == ("PUT", "https://api.fedapay.com/v1/payouts/start")
    assert start.json == {"payouts": [{"id": 1377}]}
    assert isinstance(submission, Accepted)
    assert submission.update.status is PayoutStatus.INITIATED


def test_a_bare_list_answers_a_start_too() -> None:
    http = ScriptedHttp(SAMPLE.accepted[0], a_reply(200, [a_payout(id=1), a_payout(status="started")]))

    assert isinstance(asyncio.run(FEDAPAY.submit(SAMPLE.order, http)), Accepted)


@pytest.mark.parametrize(
    "line",
    [
        NotSent("refused"),
        NoReply("timeout"),
        a_reply(429, {}),
        a_reply(500, {}),
        a_reply(200, {"v1/payouts": []}),
        a_reply(200, [a_payout(id=1)]),
        HttpReply(200, {}, b"<html>"),
    ],
    ids=repr,
)
def test_a_start_gone_wrong_is_unknown_and_names_the_payout(line: HttpReply | Exception) -> None:
    http = ScriptedHttp(SAMPLE.accepted[0], line)

    with pytest.raises(OutcomeUnknown) as unknown:
        asyncio.run(FEDAPAY.submit(SAMPLE.order, http))

    assert unknown.value.reference == "1377"


def test_a_refused_start_is_rejected_because_create_moves_nothing() -> None:
    http = ScriptedHttp(SAMPLE.accepted[0], a_reply(422, {"message": "Solde insuffisant"}))

    submission = asyncio.run(FEDAPAY.submit(SAMPLE.order, http))

    assert submission == Rejected(code="http_422", message="Solde insuffisant")


def test_a_payout_that_is_there_already_is_started_and_not_created_again() -> None:
    http = ScriptedHttp(SAMPLE.accepted[1])

    submission = asyncio.run(FEDAPAY.submit(replace(SAMPLE.payable, reference="1377"), http))

    assert isinstance(submission, Accepted)
    assert [(sent.method, sent.url) for sent in http.sent] == [("PUT", "https://api.fedapay.com/v1/payouts/start")]


def test_a_second_start_that_is_refused_says_nothing_about_the_first() -> None:
    http = ScriptedHttp(a_reply(422, {"message": "None can be started"}))

    with pytest.raises(OutcomeUnknown) as unknown:
        asyncio.run(FEDAPAY.submit(replace(SAMPLE.payable, reference="1377"), http))

    assert unknown.value.reference == "1377"


@pytest.mark.parametrize(("word", "awaits"), [("pending", True), ("scheduled", False), ("started", False)])
def test_what_was_created_and_not_started_says_so(word: str, awaits: object) -> None:
    (update,) = FEDAPAY.parse(SAMPLE.body_saying(word))

    assert update.awaits_start is awaits


def test_a_refusal_names_the_first_invalid_field() -> None:
    http = ScriptedHttp(a_reply(422, {"message": "Invalid", "errors": {"phone_number": ["is invalid"]}}))

    assert asyncio.run(FEDAPAY.submit(SAMPLE.order, http)) == Rejected(code="phone_number", message="Invalid")


def test_a_fraction_is_refused_before_anything_is_sent() -> None:
    http = ScriptedHttp(a_reply(500))

    submission = asyncio.run(FEDAPAY.submit(Order(order_key="k", amount_minor=150, currency="EUR"), http))

    assert isinstance(submission, Rejected)
    assert http.sent == []


def test_a_search_must_match_our_key_whole() -> None:
    page = {"v1/payouts": [a_payout(id=1, merchant_reference="pay_01JX2"), a_payout()], "meta": {"next_page": None}}
    http = ScriptedHttp(a_reply(200, page))

    found = asyncio.run(FEDAPAY.fetch(None, "pay_01JX", http))

    assert found == SAMPLE.says
    assert urlsplit(http.sent[0].url).path == "/v1/payouts/search"
    assert parse_qs(urlsplit(http.sent[0].url).query)["search"] == ["pay_01JX"]


def test_a_search_that_finds_only_others_finds_nothing() -> None:
    http = ScriptedHttp(a_reply(200, [a_payout(merchant_reference="pay_01JX2")]))

    assert asyncio.run(FEDAPAY.fetch(None, "pay_01JX", http)) == NotFound()


def test_lists_are_read_page_by_page() -> None:
    http = ScriptedHttp(
        a_reply(200, {"v1/payouts": [a_payout(id=2)], "meta": {"next_page": 2}}),
        a_reply(200, {"v1/payouts": [{"v1/payout": a_payout(id=1)}], "meta": {"next_page": None}}),
    )

    updates = asyncio.run(everything(FEDAPAY.list_since(datetime(2026, 1, 1, tzinfo=UTC), http)))

    assert [update.reference for update in updates] == ["2", "1"]
    assert [parse_qs(urlsplit(sent.url).query)["page"] for sent in http.sent] == [["1"], ["2"]]


def test_bare_lists_end_with_the_first_page_that_is_not_full() -> None:
    first = [a_payout(id=number) for number in range(100, 125)]
    http = ScriptedHttp(a_reply(200, first), a_reply(200, [a_payout(id=1)]))

    updates = asyncio.run(everything(FEDAPAY.list_since(datetime(2026, 1, 1, tzinfo=UTC), http)))

    assert len(updates) == 26


def test_a_payout_not_yet_started_can_be_deleted() -> None:
    http = ScriptedHttp(a_reply(200, {}))

    update = asyncio.run(FEDAPAY.cancel("1377", http))

    assert update == PayoutUpdate(reference="1377", status=PayoutStatus.CANCELED, said="deleted")
    assert (http.sent[0].method, http.sent[0].url) == ("DELETE", "https://api.fedapay.com/v1/payouts/1377")


def test_a_platform_says_on_whose_behalf_it_calls() -> None:
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(connector_of("fedapay", connected_account="acc_1").submit(SAMPLE.payable, http))

    assert {sent.headers["FedaPay-Account"] for sent in http.sent} == {"acc_1"}
