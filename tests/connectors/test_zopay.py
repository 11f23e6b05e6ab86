"""What is particular about ZoPay: money moves once, although its payouts hold nothing of ours."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from connectors._base import (
    Accepted,
    GatewayUnavailable,
    HttpReply,
    InvalidSignature,
    NoReply,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PayoutUpdate,
    Reason,
    Rejected,
    Submission,
    UnreadableEvent,
    WebhookRequest,
)
from models.lifecycle import PayoutStatus, join
from tests.connectors.fakes import ScriptedHttp, a_reply, everything, hand_over
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.zopay import SAMPLE, a_payout, a_quote, an_event, sign

ZOPAY = connector_of("zopay")
QUOTED = a_reply(200, a_quote())
TAKEN = a_reply(201, a_payout(status="pending"))


def submit(*script: HttpReply | Exception, **changes: Any) -> tuple[Submission, ScriptedHttp]:
    """Submit the sample's order against a script."""
    http = ScriptedHttp(*script)
    return asyncio.run(hand_over(ZOPAY, replace(SAMPLE.payable, **changes), http)), http


def a_conflict(code: str, form: str = "error") -> HttpReply:
    return a_reply(409, {form: {"code": code, "message": "no"}})


# --- signature


def test_the_signature_of_a_known_answer_verifies() -> None:
    """The published example of Standard Webhooks, signed at 1614265330."""
    body = b'{"test": 2432232314}'
    headers = [
        (b"webhook-id", b"msg_p5jXN8AQM9LWM0D4loKWxJek"),
        (b"webhook-timestamp", b"1614265330"),
        (b"webhook-signature", b"v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ]
    connector = connector_of("zopay", tolerance_seconds=None)

    connector.verify(WebhookRequest(headers, body), ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], NOW)


def test_one_of_several_signatures_is_enough_and_other_versions_are_skipped() -> None:
    name, time, (header, good) = SAMPLE.request().headers
    listed = b" ".join((b"v1a,AAAA", b"v1,AAAA", good))

    ZOPAY.verify(WebhookRequest([name, time, (header, listed)], SAMPLE.body), [SAMPLE.secret], NOW)


@pytest.mark.parametrize("message_id", [b"", b"evt_4.1"])
def test_a_message_id_that_could_hide_a_dot_is_refused(message_id: bytes) -> None:
    time = str(int(NOW.timestamp())).encode()
    key = base64.b64decode(SAMPLE.secret.removeprefix("whsec_"))
    seal = hmac.new(key, message_id + b"." + time + b"." + SAMPLE.body, hashlib.sha256).digest()
    headers = [
        (b"webhook-id", message_id),
        (b"webhook-timestamp", time),
        (b"webhook-signature", b"v1," + base64.b64encode(seal)),
    ]

    with pytest.raises(InvalidSignature) as refused:
        ZOPAY.verify(WebhookRequest(headers, SAMPLE.body), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MALFORMED_HEADER


def test_a_prefix_without_a_key_behind_it_is_no_secret() -> None:
    with pytest.raises(InvalidSignature) as refused:
        ZOPAY.verify(WebhookRequest(sign(SAMPLE.body, "", NOW), SAMPLE.body), ["whsec_"], NOW)

    assert refused.value.reason is Reason.NO_SECRET_CONFIGURED


# --- parse


def test_a_failure_tells_its_reason_as_a_code_or_as_words() -> None:
    (coded,) = ZOPAY.parse(an_event(a_payout(status="failed", failure_reason="reverted_on_chain")))
    (told,) = ZOPAY.parse(an_event(a_payout(status="failed", failure_reason="The chain reverted it.")))
    (odd,) = ZOPAY.parse(an_event(a_payout(status="failed", failure_reason={"code": 7})))

    assert (coded.failure_code, coded.failure_message) == ("reverted_on_chain", "reverted_on_chain")
    assert (told.failure_code, told.failure_message) == (None, "The chain reverted it.")
    assert (odd.status, odd.failure_code, odd.failure_message) == (PayoutStatus.FAILED, None, None)


def test_a_failure_after_delivery_is_a_return() -> None:
    (delivered,) = ZOPAY.parse(an_event(a_payout(status="delivered")))
    (failed,) = ZOPAY.parse(an_event(a_payout(status="failed")))

    assert delivered.status
    assert failed.status
    assert join(delivered.status, failed.status) is PayoutStatus.RETURNED


@pytest.mark.parametrize("moment", ["soon", 10**20, []])
def test_an_estimate_that_is_no_time_is_unreadable(moment: object) -> None:
    with pytest.raises(UnreadableEvent, match="estimated_delivery_at"):
        ZOPAY.parse(an_event(a_payout(estimated_delivery_at=moment)))


# --- submit


def test_a_submission_quotes_and_then_pays_the_quote() -> None:
    submission, http = submit(QUOTED, TAKEN)

    quoted, paid = http.sent
    assert isinstance(submission, Accepted)
    assert submission.update.estimated_delivery_at
    assert (quoted.method, quoted.url) == ("POST", "https://api.zopay.cash/connect/v1/payouts/quote")
    assert quoted.json == {
        "external_ref": "user-7",
        "destination": "TXinvented",
        "asset": "USDT",
        "amount": "100.000000",
    }
    assert (paid.method, paid.url, paid.json) == (
        "POST",
        "https://api.zopay.cash/connect/v1/payouts",
        {"quote_id": "q_01J"},
    )
    assert quoted.headers["Authorization"] == paid.headers["Authorization"] == "Bearer sk_live_invented"


def test_the_key_of_the_paying_call_comes_from_our_key_and_that_of_a_quote_is_new_each_time() -> None:
    sent = [submit(QUOTED, TAKEN)[1].sent for _ in range(2)]
    (other,) = [submit(QUOTED, TAKEN, order_key="pay_2")[1].sent[1]]

    quotes, payments = ({calls[step].headers["Idempotency-Key"] for calls in sent} for step in (0, 1))
    assert len(quotes) == 2
    assert len(payments) == 1
    assert other.headers["Idempotency-Key"] not in payments


@pytest.mark.parametrize("funds", [{"needed": "12.5", "asset": "USDT"}, {}, [], "", 0, False])
def test_insufficient_funds_in_a_200_are_a_refusal_whatever_they_look_like(funds: object) -> None:
    submission, http = submit(a_reply(200, a_quote(insufficient_funds=funds)))

    assert isinstance(submission, Rejected)
    assert submission.code == "insufficient_funds"
    assert len(http.sent) == 1


@pytest.mark.parametrize("quoted", ["100.01", "1000", "99.20", "0"])
def test_a_quote_of_another_amount_is_not_paid(quoted: str) -> None:
    submission, http = submit(a_reply(200, a_quote(user_sends=quoted)))

    assert isinstance(submission, Rejected)
    assert submission.code == "quote_differs"
    assert len(http.sent) == 1


@pytest.mark.parametrize(
    "answer", [a_quote(user_sends=None), a_quote(user_sends="x"), a_quote(quote_id=None), a_quote(expires_at=None), {}]
)
def test_a_quote_that_cannot_be_read_has_moved_nothing(answer: object) -> None:
    with pytest.raises(GatewayUnavailable):
        submit(a_reply(200, answer))


@pytest.mark.parametrize("form", ["error", "detail"])
def test_a_refused_quote_says_why_in_either_form(form: str) -> None:
    submission, _ = submit(a_reply(404, {form: {"code": "external_ref_unknown", "message": "Who?"}}))

    assert submission == Rejected(code="external_ref_unknown", message="Who?")


@pytest.mark.parametrize(
    "lost", [[NoReply("x")], [NoReply("x")] * 2, [a_reply(502, {})], [NoReply("x"), NotSent("x")], [a_reply(500, {})]]
)
def test_a_lost_answer_is_recovered_by_the_same_call_under_the_same_key(lost: Sequence[HttpReply | Exception]) -> None:
    submission, http = submit(QUOTED, *lost, TAKEN)

    payments = {(sent.body, sent.headers["Idempotency-Key"], sent.url) for sent in http.sent[1:]}
    assert isinstance(submission, Accepted)
    assert submission.update.reference == "pay_7QmT2"
    assert len(http.sent) == 2 + len(lost)
    assert len(payments) == 1


@pytest.mark.parametrize(
    "refused",
    [
        a_reply(401, {}),
        a_reply(404, {"error": {"code": "quote_not_found"}}),
        a_reply(422, {"error": {"code": "insufficient_funds"}}),
        a_conflict("quote_expired"),
        a_conflict("quote_already_used"),
        a_conflict("idempotency_conflict", "detail"),
        a_reply(429, {}),
        NotSent("refused"),
    ],
    ids=repr,
)
def test_after_a_lost_answer_no_refusal_is_believed(refused: HttpReply | Exception) -> None:
    """The first call may have been carried out: a refusal of its repetition says nothing about it."""
    with pytest.raises(OutcomeUnknown):
        submit(QUOTED, NoReply("timeout"), refused)


@pytest.mark.parametrize("code", ["quote_already_used", "idempotency_conflict", "new_words", None])
def test_a_conflict_on_the_paying_call_may_mean_that_it_was_paid(code: str) -> None:
    http = ScriptedHttp(QUOTED, a_conflict(code))

    with pytest.raises(OutcomeUnknown):
        asyncio.run(hand_over(ZOPAY, SAMPLE.payable, http))

    assert len(http.sent) == 2


def test_a_quote_that_has_run_out_is_a_refusal() -> None:
    submission, _ = submit(QUOTED, a_conflict("quote_expired"))

    assert submission == Rejected(code="quote_expired", message="no")


@pytest.mark.parametrize("line", [NotSent("refused"), a_reply(429, {})])
def test_a_paying_call_that_never_arrived_has_moved_nothing(line: HttpReply | Exception) -> None:
    with pytest.raises(GatewayUnavailable):
        submit(QUOTED, line)


@pytest.mark.parametrize(
    ("answer", "known"),
    [(a_payout(status="teleported"), "pay_7QmT2"), (a_payout(id=None), None), ({"id": "/etc"}, None)],
)
def test_a_yes_of_which_only_the_id_can_be_read_tells_whom_to_ask_about(answer: object, known: str | None) -> None:
    with pytest.raises(OutcomeUnknown) as unknown:
        submit(QUOTED, a_reply(201, answer))

    assert unknown.value.reference == known


# --- fetch


@pytest.mark.parametrize("line", [a_reply(404, {}), TAKEN, a_conflict("quote_already_used")])
def test_without_a_reference_nothing_is_sent_and_nothing_is_called_absent(line: HttpReply) -> None:
    http = ScriptedHttp(line)

    with pytest.raises(GatewayUnavailable, match="cannot be asked by our key"):
        asyncio.run(ZOPAY.fetch(None, "pay_01JX", http))

    assert http.sent == []


# --- recover


MEMENTO = {"quote_id": "q_01J", "expires_at": "2026-01-05T10:01:00+00:00"}
RUN_OUT = datetime(2026, 1, 5, 10, 2, tzinfo=UTC)


def recover(line: HttpReply | Exception, **options: Any) -> PayoutUpdate | NotFound:
    connector = connector_of("zopay", **options)
    return asyncio.run(connector.recover("pay_01JX", MEMENTO, RUN_OUT, ScriptedHttp(line)))


def test_what_is_prepared_is_the_quote_and_when_it_runs_out() -> None:
    assert asyncio.run(ZOPAY.prepare(SAMPLE.payable, ScriptedHttp(QUOTED))) == MEMENTO


def test_recovery_repeats_the_paying_call_word_for_word() -> None:
    _, first = submit(QUOTED, TAKEN)
    http = ScriptedHttp(TAKEN)

    found = asyncio.run(ZOPAY.recover("pay_01JX", MEMENTO, RUN_OUT, http))

    assert isinstance(found, PayoutUpdate)
    assert (found.reference, found.status) == ("pay_7QmT2", PayoutStatus.PENDING)
    assert http.sent == first.sent[1:]


def test_recovery_waits_until_the_quote_can_pay_no_more_by_either_clock() -> None:
    http = ScriptedHttp(TAKEN)

    with pytest.raises(GatewayUnavailable, match="too early"):
        asyncio.run(ZOPAY.recover("pay_01JX", MEMENTO, RUN_OUT - timedelta(seconds=1), http))

    assert http.sent == []


@pytest.mark.parametrize("form", ["error", "detail"])
def test_a_quote_that_was_used_says_that_the_payout_is_accepted(form: str) -> None:
    found = recover(a_conflict("quote_already_used", form))

    assert found == PayoutUpdate(reference=None, status=PayoutStatus.PENDING, said="quote_already_used")


@pytest.mark.parametrize(
    "line",
    [
        a_conflict("idempotency_conflict"),
        a_conflict("new_words"),
        a_reply(401, {}),
        a_reply(404, {}),
        a_reply(422, {"error": {"code": "insufficient_funds"}}),
        a_reply(429, {}),
        a_reply(500, {}),
        a_reply(201, a_payout(id=None)),
        a_reply(201, a_payout(status="teleported")),
        NoReply("x"),
        NotSent("x"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("expired_is_unpaid", [False, True])
def test_no_other_answer_to_a_recovery_says_anything(line: HttpReply | Exception, expired_is_unpaid: object) -> None:
    with pytest.raises(GatewayUnavailable):
        recover(line, expired_is_unpaid=expired_is_unpaid)


@pytest.mark.parametrize("line", [a_conflict("quote_expired"), a_reply(404, {"error": {"code": "quote_not_found"}})])
def test_a_quote_that_ran_out_was_not_paid_only_where_the_integration_says_so(line: HttpReply) -> None:
    with pytest.raises(GatewayUnavailable):
        recover(line)

    assert recover(line, expired_is_unpaid=True) == NotFound()


def test_the_codes_of_an_expired_quote_are_settings() -> None:
    found = recover(a_conflict("gone"), expired_code="gone", expired_is_unpaid=True)

    assert found == NotFound()


def test_a_payout_is_read_by_its_reference() -> None:
    http = ScriptedHttp(a_reply(200, a_payout(status="broadcast")))

    found = asyncio.run(ZOPAY.fetch("pay_7QmT2", "pay_01JX", http))

    assert isinstance(found, PayoutUpdate)
    assert (found.reference, found.status) == ("pay_7QmT2", PayoutStatus.BROADCAST)
    assert [(sent.method, sent.url) for sent in http.sent] == [
        ("GET", "https://api.zopay.cash/connect/v1/payouts/pay_7QmT2")
    ]
    assert "Idempotency-Key" not in http.sent[0].headers


def test_there_is_no_list_to_walk() -> None:
    http = ScriptedHttp(a_reply(500))

    assert asyncio.run(everything(ZOPAY.list_since(NOW, http))) == []
    assert http.sent == []
