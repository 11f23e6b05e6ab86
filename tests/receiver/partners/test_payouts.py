"""/v1/payouts: created directly, listed, followed."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.outbox import Delivery
from models.payout import Payout
from models.sealed import unseal
from payouts.payload import as_shown
from receiver.partners.new_payout import BY_TELEPHONE
from receiver.partners.payout_shown import PayoutShown
from tests.concurrency import at_once
from tests.factories import a_payout, an_endpoint, an_integration, get_events, get_payout, say
from tests.receiver.partners.partner import Answer, Partner

APartner = Callable[..., Partner]

CUSTOMER = {
    "first_name": "Ada",
    "last_name": "Mensah",
    "email": "ada@example.com",
    "phone": {"number": "01 66 00 00 01", "country": "BJ"},
}


def a_wish(**changes: Any) -> dict[str, Any]:
    """Return the body of a direct payout by telephone; None leaves a member out."""
    body = {"currency": "XOF", "amount": "2500", "customer": CUSTOMER, "mode": "mtn", **changes}
    return {name: value for name, value in body.items() if value is not None}


def created(answer: Answer) -> Payout:
    assert answer.status == 201, answer.body
    return get_payout(answer.json["id"])


@pytest.fixture
def fedapay(database: None) -> Integration:
    return an_integration("fedapay", currencies=["XOF"])


def test_a_direct_payout_is_put_on_record_as_it_was_asked_for(partner: Partner, fedapay: Integration) -> None:
    answer = partner.post("/v1/payouts", {**BY_TELEPHONE, "description": "May"})

    payout = created(answer)
    assert answer.headers["location"] == f"/v1/payouts/{payout.id}"
    assert (payout.amount_minor, payout.currency, payout.mode) == (2500, "XOF", "mtn")
    assert (payout.integration_id, payout.order_key, payout.test_mode) == (fedapay.id, payout.id, False)
    assert payout.details is not None
    assert unseal(payout.details) == {
        "mode": "mtn",
        "customer": {
            "firstname": "Ada",
            "lastname": "Mensah",
            "email": "ada@example.com",
            "phone_number": {"number": "0166000001", "country": "BJ"},
        },
    }


def test_its_answer_says_where_it_stands(partner: Partner, fedapay: Integration) -> None:
    answer = partner.post("/v1/payouts", BY_TELEPHONE).json

    assert {name: answer[name] for name in ("reference", "status", "amount", "metadata", "test_mode", "failure")} == {
        "reference": "invoice 4711",
        "status": "pending",
        "amount": "2500",
        "metadata": {"batch": "2026-05"},
        "test_mode": False,
        "failure": None,
    }
    assert [step["status"] for step in answer["timeline"]] == ["pending"]
    assert answer == partner.get(f"/v1/payouts/{answer['id']}").json


def test_a_scheduled_one_is_answered_and_told_as_it_is_on_record(partner: Partner, fedapay: Integration) -> None:
    """Both were made of what was written, not of what was read again: no digit and no zone may differ."""
    an_endpoint()
    at = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=123_456)
    elsewhere = at.astimezone(timezone(timedelta(hours=2))).isoformat().replace(".123456", ".123456789")

    answer = partner.post("/v1/payouts", a_wish(scheduled_at=elsewhere, metadata={"bb": "1", "a": "2"})).json

    assert answer == partner.get(f"/v1/payouts/{answer['id']}").json
    assert answer["scheduled_at"] == at.isoformat().replace("+00:00", "Z")
    born, scheduled = (json.loads(event.payload or "")["data"] for event in get_events(get_payout(answer["id"])))
    assert {name: scheduled[name] for name in answer if name not in ONLY_IN_ANSWERS} == {
        name: value for name, value in answer.items() if name not in ONLY_IN_ANSWERS
    }
    assert {**born, "status": "scheduled", "previous_status": "pending", "sequence": 2} == scheduled


ONLY_IN_ANSWERS = {"timeline", "balance_id", "quote"}


def test_answers_and_webhooks_say_the_same(partner: Partner, fedapay: Integration) -> None:
    payout = created(partner.post("/v1/payouts", BY_TELEPHONE))
    say(payout, PayoutStatus.DELIVERED, costs={"fees": 50}, reference="gw-1")

    sent = json.loads(get_events(payout)[-1].payload or "")["data"]
    shown = partner.get(f"/v1/payouts/{payout.id}").json

    assert set(PayoutShown.model_fields) == {*as_shown(payout), *ONLY_IN_ANSWERS}
    assert {name: sent[name] for name in shown if name not in ONLY_IN_ANSWERS} == {
        name: value for name, value in shown.items() if name not in ONLY_IN_ANSWERS
    }
    assert shown["costs"]["fees"] == "50"


def test_its_partner_is_owed_the_first_event_and_the_trail_has_a_line(partner: Partner, fedapay: Integration) -> None:
    an_endpoint()

    payout = created(partner.post("/v1/payouts", BY_TELEPHONE))

    with transaction() as session:
        assert session.exec(select(Delivery.payout_id)).all() == [payout.id]
        line = session.exec(select(AuditLine).where(AuditLine.action == "payout.created")).one()
    assert line.actor.startswith("key:key_")
    assert line.entity == payout.id
    assert "Ada" not in json.dumps(line.after)


def test_a_scheduled_payout_waits(partner: Partner, fedapay: Integration) -> None:
    at = (datetime.now(UTC) + timedelta(days=3)).replace(microsecond=0)

    answer = partner.post("/v1/payouts", a_wish(scheduled_at=at.isoformat()))

    payout = created(answer)
    assert (payout.status, payout.scheduled_at, payout.next_poll_at) == ("scheduled", at, at)
    assert answer.json["scheduled_at"] == at.isoformat().replace("+00:00", "Z")
    assert [step["status"] for step in answer.json["timeline"]] == ["pending", "scheduled"]


def test_one_key_makes_one_payout_however_many_ask_at_once(partner: Partner, fedapay: Integration) -> None:
    answers = at_once(*[lambda: partner.post("/v1/payouts", BY_TELEPHONE, idempotency_key="k")] * 20)

    assert {answer.status for answer in answers} == {201}
    assert len({answer.body for answer in answers}) == 1
    with transaction() as session:
        assert len(session.exec(select(Payout)).all()) == 1


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"amount": 2500}, "#/amount"),
        ({"amount": 25.0}, "#/amount"),
        ({"amount": "0"}, "#/amount"),
        ({"amount": "-1"}, "#/amount"),
        ({"amount": "1e3"}, "#/amount"),
        ({"amount": "٣"}, "#/amount"),
        ({"amount": "1.5"}, "#/amount"),
        ({"amount": "1" + "0" * 18}, "#/amount"),
        ({"amount": "9" * 10_000}, "#/amount"),
        ({"amount": None}, "#/amount"),
        ({"currency": "XXX"}, "#/currency"),
        ({"currency": "xof"}, "#/currency"),
        ({"currency": None}, "#/currency"),
        ({"mode": "Bank Transfer"}, "#/mode"),
        ({"gateway": "../etc"}, "#/gateway"),
        ({"customer": {**CUSTOMER, "first_name": ""}}, "#/customer/first_name"),
        ({"customer": {**CUSTOMER, "first_name": "A\x00B"}}, "#/customer/first_name"),
        ({"customer": {**CUSTOMER, "last_name": "A\nB"}}, "#/customer/last_name"),
        ({"customer": {**CUSTOMER, "email": "ada"}}, "#/customer/email"),
        ({"customer": {**CUSTOMER, "phone": {"number": "12345", "country": "BJ"}}}, "#/customer/phone"),
        ({"customer": {**CUSTOMER, "phone": {"number": "+33612345678", "country": "BJ"}}}, "#/customer/phone"),
        ({"customer": {**CUSTOMER, "phone": {"number": "0166000001", "country": "ZZ"}}}, "#/customer/phone"),
        ({"details": {"deep": {"a/b": ["x", "\x00"]}}}, "#/details/deep/a~1b/1"),
        ({"details": {"na\x00me": 1}}, "#/details"),
        ({"metadata": {"a b": "c"}}, "#/metadata/a b/[key]"),
        ({"metadata": {str(number): "" for number in range(21)}}, "#/metadata"),
        ({"metadata": {"a": 1}}, "#/metadata/a"),
        ({"reference": "x" * 101}, "#/reference"),
        ({"scheduled_at": "2020-01-01T00:00:00Z"}, "#/scheduled_at"),
        ({"scheduled_at": "2999-01-01T00:00:00Z"}, "#/scheduled_at"),
        ({"scheduled_at": "2026-05-12T09:15:00"}, "#/scheduled_at"),
        ({"scheduled_at": 1_800_000_000}, "#/scheduled_at"),
        ({"scheduled_at": "0001-01-01T00:00:00+14:00"}, "#/scheduled_at"),
        ({"scheduled_at": "2026-13-01T00:00:00Z"}, "#/scheduled_at"),
        ({"organisation": "org_1"}, "#/organisation"),
    ],
)
def test_what_is_wrong_is_pointed_at(
    partner: Partner, fedapay: Integration, changes: dict[str, Any], pointer: str
) -> None:
    refused = partner.post("/v1/payouts", a_wish(**changes))

    assert refused.status == 422
    assert refused.pointers == [pointer]
    with transaction() as session:
        assert session.exec(select(Payout)).all() == []


def test_a_refusal_never_repeats_what_was_sent(partner: Partner, fedapay: Integration) -> None:
    customer = {**CUSTOMER, "email": "planted-4111", "first_name": 4_111_111, "phone": {"number": "4111411141114111"}}

    refused = partner.post("/v1/payouts", a_wish(customer=customer))

    assert refused.status == 422
    assert b"4111" not in refused.body


def test_the_named_gateway_carries_it_by_its_slug_or_by_its_name(partner: Partner) -> None:
    first, second = an_integration("fedapay"), an_integration("fedapay")

    by_name = created(partner.post("/v1/payouts", a_wish(gateway="fedapay")))
    by_slug = created(partner.post("/v1/payouts", a_wish(gateway=second.slug)))

    assert (by_name.integration_id, by_slug.integration_id) == (first.id, second.id)


def test_without_a_name_the_first_that_can_carry_it_does(partner: Partner) -> None:
    an_integration("stripe")
    an_integration("fedapay", is_active=False)
    an_integration("fedapay", payouts_enabled=False)
    an_integration("fedapay", currencies=["GNF"])
    an_integration("fedapay", webhook_secrets=())
    an_integration("fedapay", test_mode=True)
    an_integration("zopay", currencies=["XOF"])
    an_integration("paycore")  # asks for fields that are not given
    able = an_integration("fedapay")
    an_integration("fedapay")

    assert created(partner.post("/v1/payouts", a_wish())).integration_id == able.id


@pytest.mark.parametrize(
    ("integration", "changes", "status", "code"),
    [
        ({}, {"gateway": "nobody"}, 422, "unknown_gateway"),
        ({"is_active": False}, {"gateway": "fedapay"}, 422, "unknown_gateway"),
        ({"test_mode": True}, {"gateway": "fedapay"}, 422, "unknown_gateway"),
        ({"payouts_enabled": False}, {"gateway": "fedapay"}, 409, "payouts_disabled"),
        ({"webhook_secrets": ()}, {"gateway": "fedapay"}, 409, "webhook_secret_missing"),
        ({"currencies": ["GNF"]}, {"gateway": "fedapay"}, 409, "currency_unsupported"),
        ({"connector": "stripe"}, {"gateway": "stripe"}, 409, "payouts_unsupported"),
        ({"connector": "stripe"}, {}, 409, "no_gateway"),
        ({}, {"gateway": "fedapay", "customer": {**CUSTOMER, "phone": None}}, 422, "missing_detail"),
        ({}, {"customer": {**CUSTOMER, "phone": None}}, 409, "no_gateway"),
    ],
)
def test_a_payout_that_nobody_can_carry_is_refused_with_the_reason(
    partner: Partner, integration: dict[str, Any], changes: dict[str, Any], status: int, code: str
) -> None:
    an_integration(**{"connector": "fedapay", **integration})

    refused = partner.post("/v1/payouts", a_wish(**changes))

    assert (refused.status, refused.code) == (status, code)
    assert refused.json["detail"]


def test_accounts_that_were_not_named_are_not_named_either(partner: Partner) -> None:
    hidden = an_integration("fedapay", webhook_secrets=())

    refused = partner.post("/v1/payouts", a_wish())

    assert refused.code == "no_gateway"
    assert "webhook_secret_missing" in refused.json["detail"]
    assert hidden.slug not in refused.json["detail"]


def test_a_test_key_reaches_test_accounts_only(a_partner: APartner) -> None:
    an_integration("fedapay")
    tested = an_integration("fedapay", test_mode=True)

    payout = created(a_partner(test_mode=True).post("/v1/payouts", a_wish()))

    assert payout.test_mode
    assert payout.integration_id == tested.id


@pytest.mark.parametrize(
    ("connector", "options", "changes", "details", "label"),
    [
        ("mollie", {"balance_id": "bal_1"}, {"details": {"balanceId": "bal_2"}}, {"balanceId": "bal_1"}, None),
        (
            "paycore",
            {},
            {
                "mode": "payment_card_usd",
                "details": {"fields": {"card_number": "4111111111111111"}, "callback_url": "https://evil.example"},
            },
            {
                "service": "payment_card_usd",
                "fields": {"card_number": "4111111111111111"},
                "customer": {"email": "ada@example.com", "name": "Ada Mensah", "phone": "+2290166000001"},
            },
            "•••• 1111",
        ),
        (
            "zopay",
            {},
            {
                "currency": "USDT",
                "amount": "12.5",
                "mode": "crypto",
                "details": {"external_ref": "user-ada", "destination": "TXabcdefgh", "more": 1},
            },
            {"external_ref": "user-ada", "destination": "TXabcdefgh"},
            "•••• efgh",
        ),
        (
            "bridgerpay",
            {"provider": "sandbox"},
            {"mode": "bank_transfer", "details": {"country": "BE", "metadata": {"iban": "BE68539007547034"}}},
            {
                "provider": "sandbox",
                "country": "BE",
                "payout_method_type": "bank_account",
                "metadata": {"iban": "BE68539007547034"},
            },
            "•••• 7034",
        ),
    ],
)
def test_each_gateway_is_told_in_its_own_words_and_only_what_a_partner_may_say(
    partner: Partner,
    connector: str,
    options: dict[str, Any],
    changes: dict[str, Any],
    details: dict[str, Any],
    label: str | None,
) -> None:
    an_integration(connector, options=options)

    payout = created(partner.post("/v1/payouts", a_wish(**changes)))

    assert payout.details is not None
    assert unseal(payout.details) == details
    assert payout.destination_label == label


def test_a_list_is_narrowed_by_every_filter(partner: Partner) -> None:
    old = a_payout(created_at=datetime(2026, 1, 1, tzinfo=UTC))
    named = a_payout(partner_reference="invoice 7")
    failed = a_payout(status=PayoutStatus.FAILED)

    def ids(query: str) -> list[str]:
        return [payout["id"] for payout in partner.get(f"/v1/payouts?{query}").json["data"]]

    assert ids("") == [failed.id, named.id, old.id]
    assert ids("status=failed") == [failed.id]
    assert ids("reference=invoice%207") == [named.id]
    assert ids("until=2026-01-01T00:00:01Z") == [old.id]
    assert ids("since=2026-01-01T00:00:01%2B00:00&status=pending") == [named.id]
    assert ids("reference=nobody") == []


@pytest.mark.parametrize(
    "query",
    [
        "status=lost",
        "since=yesterday",
        "since=2026-01-01T00:00:00",
        "since=0.5",
        "until=0001-01-01T00:00:00%2B14:00",
    ],
)
def test_a_filter_that_nothing_could_pass_is_refused(partner: Partner, query: str) -> None:
    assert partner.get(f"/v1/payouts?{query}").code == "invalid_request"


def test_the_timeline_of_a_payout_reads_from_its_birth(partner: Partner) -> None:
    payout = a_payout()
    moment = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
    say(payout, PayoutStatus.BROADCAST, occurred_at=moment)
    say(payout, PayoutStatus.DELIVERED)

    timeline = partner.get(f"/v1/payouts/{payout.id}").json["timeline"]

    assert [step["status"] for step in timeline] == ["pending", "broadcast", "delivered"]
    assert timeline[1]["at"] == "2026-05-12T09:15:00Z"


def test_its_events_are_listed_in_order_and_in_pages(partner: Partner) -> None:
    payout = a_payout()
    for status in (PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED):
        say(payout, status)
    path = f"/v1/payouts/{payout.id}/events?limit=3"

    first = partner.get(path).json
    second = partner.get(f"{path}&after={first['next_cursor']}").json

    events = [*first["data"], *second["data"]]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    assert [event["id"] for event in events] == [event.id for event in get_events(payout)]
    assert [event["type"] for event in events][-1] == "payout.delivered"
    assert [event["previous_status"] for event in events] == [None, "pending", "initiated", "broadcast"]
    assert (first["has_more"], second["has_more"]) == (True, False)


def test_events_of_another_organisations_payout_are_unknown(a_partner: APartner) -> None:
    payout = a_payout()

    assert a_partner("Other").get(f"/v1/payouts/{payout.id}/events").code == "unknown_payout"


def test_ids_of_another_list_as_a_cursor_show_nothing_of_it(a_partner: APartner) -> None:
    """A cursor is a place in one's own list, whatever it names."""
    mine, theirs = a_payout(), a_payout(organisation="Other")

    page = a_partner().get(f"/v1/payouts?after={theirs.id}").json

    assert [payout["id"] for payout in page["data"]] == [mine.id]
