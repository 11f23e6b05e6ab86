"""What is particular about Stripe."""

import asyncio
from functools import reduce
from typing import Any

import pytest

from connectors._base import GatewayUnavailable, InvalidSignature, PayoutUpdate, Reason, WebhookRequest
from models.lifecycle import PayoutStatus, join
from tests.connectors.fakes import ScriptedHttp, a_reply
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.stripe import SAMPLE, a_payout, an_event

STRIPE = connector_of("stripe")


@pytest.mark.parametrize("words", [("paid", "failed"), ("failed", "paid"), ("pending", "failed", "in_transit", "paid")])
def test_paid_and_failed_are_a_return_in_any_order(words: tuple[str, ...]) -> None:
    said = [update.status for word in words for update in STRIPE.parse(SAMPLE.body_saying(word)) if update.status]

    assert reduce(join, said) is PayoutStatus.RETURNED


def test_a_v0_signature_proves_nothing() -> None:
    ((name, text),) = SAMPLE.request().headers

    with pytest.raises(InvalidSignature) as refused:
        STRIPE.verify(WebhookRequest([(name, text.replace(b"v1=", b"v0="))], SAMPLE.body), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MALFORMED_HEADER


def test_while_a_secret_rolls_one_of_two_signatures_is_enough() -> None:
    ((name, text),) = SAMPLE.request().headers
    time, seal = text.split(b",")

    for list_ in ([time, b"v1=" + b"0" * 64, seal], [time, b"v1=rubbish", seal], [seal, time]):
        assert STRIPE.verify(WebhookRequest([(name, b",".join(list_))], SAMPLE.body), [SAMPLE.secret], NOW)


@pytest.mark.parametrize("change", [lambda text: text + b",t=1", lambda text: b"t=1," + text])
def test_two_times_are_no_time(change: Any) -> None:
    ((name, text),) = SAMPLE.request().headers

    with pytest.raises(InvalidSignature) as refused:
        STRIPE.verify(WebhookRequest([(name, change(text))], SAMPLE.body), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MALFORMED_HEADER


def test_the_prefix_of_the_secret_belongs_to_the_key() -> None:
    with pytest.raises(InvalidSignature):
        STRIPE.verify(SAMPLE.request(), [SAMPLE.secret.removeprefix("whsec_")], NOW)


def test_a_thin_event_makes_us_ask() -> None:
    related = {"id": "po_1", "type": "payout", "url": "/v1/payouts/po_1"}
    body = an_event({}, object="v2.core.event", related_object=related, created="2026-05-12T09:14:00.000Z")

    (update,) = STRIPE.parse(body)

    assert (update.reference, update.status, update.said) == ("po_1", None, "payout.failed")
    assert STRIPE.parse(an_event({}, object="v2.core.event", related_object=None)) == []


def test_a_debit_is_nobodys_payout() -> None:
    assert STRIPE.parse(an_event(a_payout(amount=-500))) == []


@pytest.mark.parametrize(
    ("amount", "currency", "minor"), [(500, "jpy", 500), (50000, "isk", 500), (500, "mga", 50000), (1000, "kwd", 1000)]
)
def test_stripes_own_minor_units_become_those_of_iso_4217(amount: int, currency: str, minor: int) -> None:
    (update,) = STRIPE.parse(an_event(a_payout(amount=amount, currency=currency)))

    assert update.amount_minor == minor


def test_a_connected_account_is_named_in_the_call() -> None:
    http = ScriptedHttp(a_reply(200, a_payout(status="paid")))

    found = asyncio.run(connector_of("stripe", connected_account="acct_1").fetch("po_1", "pay_01JX", http))

    assert isinstance(found, PayoutUpdate)
    assert http.sent[0].url == "https://api.stripe.com/v1/payouts/po_1"
    assert http.sent[0].headers == {"Authorization": "Bearer sk_live_invented", "Stripe-Account": "acct_1"}


def test_without_a_reference_nothing_is_asked() -> None:
    http = ScriptedHttp(a_reply(404, {}))

    with pytest.raises(GatewayUnavailable):
        asyncio.run(STRIPE.fetch(None, "pay_01JX", http))

    assert http.sent == []
