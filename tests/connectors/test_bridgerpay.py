"""What is particular about BridgerPay: news that proves nothing, envelopes, logins, and a list instead of a lookup."""

import asyncio
import base64
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from connectors._base import (
    Account,
    GatewayUnavailable,
    HttpReply,
    InvalidSignature,
    NoReply,
    NotFound,
    OutcomeUnknown,
    PayoutUpdate,
    Reason,
    Rejected,
    UnreadableEvent,
    WebhookRequest,
)
from connectors.bridgerpay import STATUSES, BridgerPay
from models.lifecycle import PayoutStatus
from tests.connectors.fakes import ScriptedHttp, a_reply, everything
from tests.connectors.sample import NOW, connector_of
from tests.connectors.samples.bridgerpay import (
    SAMPLE,
    a_login,
    a_notification,
    a_page,
    a_record,
    a_result,
    wrapped,
)

BRIDGERPAY = connector_of("bridgerpay")
KEY = "pay_01JX:1"
UNAUTHORIZED = [wrapped(None, 401, 401), wrapped(None, 401, 200)]


def fetch(*script: HttpReply | Exception, reference: str | None = "3c107b2c") -> PayoutUpdate | NotFound:
    return asyncio.run(BRIDGERPAY.fetch(reference, KEY, ScriptedHttp(*script)))


# --- signature


def test_the_convention_of_a_known_answer_verifies() -> None:
    """Computed with `printf '{}' | openssl dgst -sha256 -hmac secret`."""
    seal = b"77325902caca812dc259733aacd046b73817372c777b8d95b402647474516e13"

    BRIDGERPAY.verify(WebhookRequest([(b"x-bridgerpay-signature", seal)], b"{}"), ["secret"], NOW)


@pytest.mark.parametrize("algorithm", ["sha256", "sha384", "sha512"])
@pytest.mark.parametrize("encoding", ["hex", "base64"])
def test_header_encoding_and_algorithm_are_what_was_agreed(algorithm: str, encoding: str) -> None:
    connector = connector_of(
        "bridgerpay", signature_header="X-Proxy-Seal", signature_encoding=encoding, signature_algorithm=algorithm
    )
    seal = hmac.new(SAMPLE.secret.encode(), SAMPLE.body, algorithm).digest()
    text = seal.hex().encode() if encoding == "hex" else base64.b64encode(seal)

    connector.verify(WebhookRequest([(b"x-proxy-seal", text)], SAMPLE.body), [SAMPLE.secret], NOW)


@pytest.mark.parametrize("option", [{"signature_algorithm": "md5"}, {"signature_encoding": "rot13"}])
def test_an_algorithm_or_encoding_that_we_do_not_trust_verifies_nothing(option: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature) as refused:
        connector_of("bridgerpay", **option).verify(SAMPLE.request(), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.FORBIDDEN_ALGORITHM


def test_bare_news_as_bridgerpay_itself_sends_it_is_refused() -> None:
    with pytest.raises(InvalidSignature) as refused:
        BRIDGERPAY.verify(WebhookRequest([], SAMPLE.body), [SAMPLE.secret], NOW)

    assert refused.value.reason is Reason.MISSING_HEADER
    assert BridgerPay.REQUIRES_WEBHOOK_SECRET


# --- parse


@pytest.mark.parametrize("kind", [*STATUSES, "partly_refunded", "something_new"])
def test_no_news_changes_a_status_whatever_it_says(kind: str) -> None:
    (hint,) = BRIDGERPAY.parse(a_notification(kind))

    assert (hint.said, hint.status, hint.reference, hint.order_key) == (kind, None, None, KEY)
    assert (hint.amount_minor, hint.currency) == (None, None)


@pytest.mark.parametrize("operation", ["deposit", "refund", "PAYIN"])
def test_other_operations_share_the_types_and_are_none_of_ours(operation: str) -> None:
    assert BRIDGERPAY.parse(a_notification("approved", operation_type=operation)) == []


@pytest.mark.parametrize("kind", ["cashier.session.init", "cashier.session.close"])
def test_a_cashier_session_is_none_of_ours(kind: str) -> None:
    assert BRIDGERPAY.parse(json.dumps({"webhook": {"type": kind}, "data": {"order_id": "1"}}).encode()) == []


def test_a_charge_that_does_not_say_its_operation_is_for_a_person() -> None:
    with pytest.raises(UnreadableEvent, match="operation_type"):
        BRIDGERPAY.parse(a_notification(operation_type=None))


def test_a_charge_says_when_it_changed_unless_it_says_zero() -> None:
    (known,) = BRIDGERPAY.parse(a_notification(attributes={"updated_at": 1767225660}))
    (zero,) = BRIDGERPAY.parse(a_notification(attributes={"updated_at": 0}))

    assert known.occurred_at == datetime(2026, 1, 1, 0, 1, tzinfo=UTC)
    assert zero.occurred_at == datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC)


def test_what_makes_news_the_same_is_order_operation_type_and_charge() -> None:
    bodies = [
        a_notification(),
        a_notification(uuid="another", attributes={}),
        a_notification("declined"),
        a_notification(operation_type="deposit"),
        a_notification(id="9f"),
    ]

    keys = [BRIDGERPAY.event_key(WebhookRequest([], body)) for body in bodies]

    assert keys[0] == keys[1] == "pay_01JX:1:payout:approved:8ac7a4a1"
    assert len(set(keys)) == 4


# --- submit


def test_a_submission_logs_in_and_pays_once_with_an_exact_amount() -> None:
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(BRIDGERPAY.submit(SAMPLE.payable, http))

    login, paid = http.sent
    assert (login.method, login.url) == ("POST", "https://api.bridgerpay.com/v2/auth/login")
    assert login.json == {"user_name": "a@example.test", "password": "invented"}
    assert (paid.method, paid.url) == ("POST", "https://api.bridgerpay.com/v2/key-in-the-path/payouts")
    assert paid.headers["Authorization"] == "Bearer token-1"
    assert b'"amount":250.00,' in (paid.body or b"")
    assert paid.json == {
        "order_id": KEY,
        "provider": "PspName",
        "country": "BE",
        "currency": "EUR",
        "amount": 250.0,
        "payout_method_type": "bank_account",
        "metadata": {"bankAccountNumber": "BE68539007547034"},
    }


def test_the_version_is_an_option_and_the_key_cannot_leave_its_segment() -> None:
    credentials = {**SAMPLE.account.credentials, "api_key": "a/../b?c"}
    connector = BridgerPay(Account(credentials, "https://api-sandbox.bridgerpay.com/", {"api_version": "v1"}))
    http = ScriptedHttp(*SAMPLE.accepted)

    asyncio.run(connector.submit(SAMPLE.payable, http))

    assert [urlsplit(sent.url).path for sent in http.sent] == ["/v1/auth/login", "/v1/a%2F..%2Fb%3Fc/payouts"]


@pytest.mark.parametrize("name", ["provider", "country", "payout_method_type", "metadata"])
def test_a_missing_detail_is_refused_before_anything_is_sent(name: str) -> None:
    details = {key: value for key, value in SAMPLE.payable.details.items() if key != name}
    http = ScriptedHttp(*SAMPLE.accepted)

    submission = asyncio.run(BRIDGERPAY.submit(replace(SAMPLE.payable, details=details), http))

    assert submission == Rejected(code="missing_detail", message=f"details.{name} is missing")
    assert http.sent == []


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("kind", ["validation_error", "validaton_error"])
def test_a_refusal_in_the_envelope_counts_whatever_http_says(status: int, kind: str) -> None:
    faults = [{"type": kind, "field": "country", "message": "is required"}]
    http = ScriptedHttp(a_login(), wrapped(faults, 400, status))

    submission = asyncio.run(BRIDGERPAY.submit(SAMPLE.payable, http))

    assert submission == Rejected(code="country", message="is required")


@pytest.mark.parametrize(
    "answer",
    [
        wrapped(a_result(), 500),
        wrapped(a_result(), 409),
        wrapped(a_result(), 302),
        wrapped(a_result(status="Teleported")),
        wrapped(None),
        wrapped([]),
        a_reply(200, {"result": a_result()}),
        a_reply(200, {"response": {"code": "200"}, "result": a_result()}),
        a_reply(200, {"response": {"code": True}, "result": a_result()}),
        a_reply(200, {"response": {"code": 10**9}, "result": a_result()}),
        wrapped(a_result(), 200, 500),
        NoReply("timeout"),
    ],
    ids=repr,
)
def test_everything_that_is_no_clear_yes_or_no_leaves_the_outcome_unknown(answer: HttpReply | Exception) -> None:
    http = ScriptedHttp(a_login(), answer)

    with pytest.raises(OutcomeUnknown):
        asyncio.run(BRIDGERPAY.submit(SAMPLE.payable, http))

    assert len(http.sent) == 2, "an order that BridgerPay may have is never sent again"


@pytest.mark.parametrize(
    "refused",
    [*UNAUTHORIZED, wrapped(None, 403, 403), a_reply(400, b"<html>"), wrapped({}), wrapped({"access_token": {}})],
    ids=repr,
)
def test_a_refused_login_says_nothing_about_the_payout(refused: HttpReply) -> None:
    http = ScriptedHttp(refused)

    with pytest.raises(GatewayUnavailable, match=r"login|unreadable"):
        asyncio.run(BRIDGERPAY.submit(SAMPLE.payable, http))

    assert len(http.sent) == 1


def test_no_error_tells_the_key_or_the_password() -> None:
    for script in ([NoReply("x")], [wrapped(None, 401)], [a_login(), NoReply("x")], [a_login(), a_reply(500)]):
        for call in (BRIDGERPAY.submit(SAMPLE.payable, ScriptedHttp(*script)), _read(*script)):
            with pytest.raises((OutcomeUnknown, GatewayUnavailable)) as raised:
                asyncio.run(call)
            assert not any(secret in str(raised.value) for secret in SAMPLE.account.credentials.values())


def _read(*script: HttpReply | Exception) -> Any:
    return BRIDGERPAY.fetch(None, KEY, ScriptedHttp(*script))


# --- fetch


@pytest.mark.parametrize(("word", "status"), STATUSES.items())
@pytest.mark.parametrize("write", [str, str.upper, str.capitalize, lambda word: word.title().replace("_", "")])
def test_every_word_is_read_however_it_is_written(word: str, status: PayoutStatus, write: Any) -> None:
    found = fetch(a_login(), a_page(a_record(status=write(word))), a_page())

    assert isinstance(found, PayoutUpdate)
    assert (found.said, found.status) == (word, status)


def test_a_payout_is_asked_for_by_our_key_and_the_list_is_read_to_its_end() -> None:
    http = ScriptedHttp(
        a_login(), a_page(a_record(merchant_order_id="pay_01JX:10")), a_page(a_record(merchant_order_id=7)), a_page()
    )

    found = asyncio.run(BRIDGERPAY.fetch("3c107b2c", KEY, http))

    queries = [parse_qs(urlsplit(sent.url).query) for sent in http.sent[1:]]
    assert found == NotFound()
    assert queries == [{"merchantOrderId": [KEY], "page": [str(page)], "limit": ["24"]} for page in (1, 2, 3)]


@pytest.mark.parametrize(
    "end",
    [
        NoReply("x"),
        wrapped({"records": []}, 500),
        wrapped({"records": []}, 404),
        wrapped({"records": None}),
        wrapped([]),
        wrapped(None),
        a_reply(200, {"result": {"records": []}}),
    ],
    ids=repr,
)
def test_a_list_that_was_not_read_to_its_end_lacks_nothing(end: HttpReply | Exception) -> None:
    with pytest.raises(GatewayUnavailable):
        fetch(a_login(), end)
    with pytest.raises(GatewayUnavailable):
        fetch(a_login(), a_page(a_record(merchant_order_id="other")), end)


def test_a_record_is_read_with_an_exact_amount_and_its_decline() -> None:
    record = a_record(status="Declined", amount=0.29, decline_code=51, decline_reason="No funds")

    found = fetch(a_login(), a_page(record), a_page())

    assert found == PayoutUpdate(
        reference="3c107b2c",
        order_key=KEY,
        status=PayoutStatus.FAILED,
        said="declined",
        amount_minor=29,
        currency="EUR",
        failure_code="51",
        failure_message="No funds",
    )


def test_a_declined_attempt_beside_another_record_is_not_the_end_of_the_payout() -> None:
    declined, other = a_record(status="Declined"), a_record(id="other", status="Pending")

    for page in (a_page(declined, other), a_page(other, declined)):
        found = fetch(a_login(), page, a_page())
        assert isinstance(found, PayoutUpdate)
        assert (found.reference, found.status) == ("other", PayoutStatus.INITIATED)


@pytest.mark.parametrize("other", ["Approved", "Pending", "Refunded", "Voided"])
def test_two_records_that_were_not_declined_are_for_a_person(other: str) -> None:
    with pytest.raises(GatewayUnavailable, match="2 payouts stand under our key"):
        fetch(a_login(), a_page(a_record(), a_record(id="other", status=other)), a_page())


def test_of_several_declined_records_ours_is_the_one_we_know() -> None:
    newest, ours = a_record(id="newest", status="Declined"), a_record(status="Declined", decline_code="ours")

    found = fetch(a_login(), a_page(newest, ours), a_page())

    assert isinstance(found, PayoutUpdate)
    assert found.failure_code == "ours"


# --- tokens


def test_reads_share_one_login_as_long_as_the_gateway_takes_its_token() -> None:
    http = ScriptedHttp(a_login(), a_page())

    for _ in range(3):
        assert asyncio.run(BRIDGERPAY.fetch(None, KEY, http)) == NotFound()

    assert [sent.method for sent in http.sent] == ["POST", "GET", "GET", "GET"]


def test_reads_that_begin_together_share_one_login() -> None:
    http = ScriptedHttp(a_login(), a_page())

    async def all_at_once() -> None:
        await asyncio.gather(*[BRIDGERPAY.fetch(None, KEY, http) for _ in range(5)])

    asyncio.run(all_at_once())

    assert [sent.method for sent in http.sent] == ["POST", *["GET"] * 5]


@pytest.mark.parametrize("refused", UNAUTHORIZED)
def test_a_token_that_has_run_out_is_replaced_and_the_read_repeated(refused: HttpReply) -> None:
    http = ScriptedHttp(a_login(), a_page(), refused, a_login("token-2"), a_page(a_record()), a_page())
    asyncio.run(BRIDGERPAY.fetch(None, KEY, http))

    found = asyncio.run(BRIDGERPAY.fetch(None, KEY, http))

    assert isinstance(found, PayoutUpdate)
    assert [sent.headers.get("Authorization") for sent in http.sent] == [
        None, "Bearer token-1", "Bearer token-1", None, "Bearer token-2", "Bearer token-2",
    ]  # fmt: skip


def test_a_token_that_is_refused_when_it_is_new_teaches_nothing_and_is_not_asked_for_for_ever() -> None:
    http = ScriptedHttp(a_login(), wrapped(None, 401), a_login("token-2"), wrapped(None, 401))

    with pytest.raises(GatewayUnavailable):
        asyncio.run(BRIDGERPAY.fetch(None, KEY, http))

    assert len(http.sent) == 4


def test_another_way_out_another_account_and_another_password_log_in_for_themselves() -> None:
    http = ScriptedHttp(a_login(), a_page(), a_login("token-2"), a_page())
    other = BridgerPay(Account({**SAMPLE.account.credentials, "password": "changed"}))

    asyncio.run(BRIDGERPAY.fetch(None, KEY, http))
    asyncio.run(other.fetch(None, KEY, http))

    assert [sent.method for sent in http.sent] == ["POST", "GET", "POST", "GET"]
    assert fetch(a_login("token-3"), a_page()) == NotFound()


def test_a_submission_never_relies_on_a_kept_token() -> None:
    http = ScriptedHttp(a_login(), a_page(), a_login("fresh"), wrapped(a_result()))
    asyncio.run(BRIDGERPAY.fetch(None, KEY, http))

    asyncio.run(BRIDGERPAY.submit(SAMPLE.payable, http))

    assert http.sent[-1].headers["Authorization"] == "Bearer fresh"


# --- list


def test_the_list_is_walked_newest_first_as_far_as_something_may_have_changed() -> None:
    old = a_record(id="old", processing_date="2025-01-01 00:00:00")
    http = ScriptedHttp(a_login(), a_page(a_record(), old, a_record(id="behind")), a_page())

    updates = asyncio.run(everything(BRIDGERPAY.list_since(datetime(2026, 1, 5, tzinfo=UTC), http)))

    assert [update.reference for update in updates] == ["3c107b2c"]
    assert parse_qs(urlsplit(http.sent[1].url).query)["sortDir"] == ["desc"]
