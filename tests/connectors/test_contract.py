"""The contract that every file in connectors/ keeps. None is named here: dropping a file in adds it to the suite."""

import asyncio
import contextlib
import json
import re
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import connectors
from connectors._base import (
    Accepted,
    Account,
    Connector,
    GatewayUnavailable,
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
    Unaddressable,
    UnreadableEvent,
    Verified,
    WebhookRequest,
    Wish,
)
from models.lifecycle import IN_FLIGHT
from models.money import exponent
from tests.connectors.anything import (
    PIECES,
    assert_read_or_unreadable,
    assert_storable,
    json_values,
    with_a_leaf_replaced,
)
from tests.connectors.fakes import ScriptedHttp, a_reply, everything, hand_over
from tests.connectors.sample import NOW, Sample, connector_of, sample_of

PAYING = [name for name in connectors.NAMES if connectors.connector_class(name).SUPPORTS_PAYOUTS]
PREPARING = [name for name in PAYING if connectors.connector_class(name).PREPARES]
LISTENING = [name for name in connectors.NAMES if name not in PAYING]

every_gateway = pytest.mark.parametrize("name", connectors.NAMES)
every_paying_gateway = pytest.mark.parametrize("name", PAYING)
every_listening_gateway = pytest.mark.parametrize("name", LISTENING)
every_preparing_gateway = pytest.mark.parametrize("name", PREPARING)
names = st.sampled_from(connectors.NAMES)


def reason_of(name: str, request: WebhookRequest, secrets: list[str], **at: Any) -> Reason:
    """Return why a request is refused; the test fails when it is not."""
    with pytest.raises(InvalidSignature) as refused:
        connector_of(name).verify(request, secrets, at.get("now", NOW))
    return refused.value.reason


# --- what a connector is


ANOTHER_BODY = {Reason.SIGNATURE_MISMATCH, Reason.DIGEST_MISMATCH}
"""A scheme that signs a digest says that the digest is wrong."""


@every_gateway
def test_a_connector_says_what_it_is(name: str) -> None:
    connector = connectors.connector_class(name)

    assert connector.name == name
    assert connector.DOCUMENTATION.startswith("https://")
    assert connector.BASE_URL.startswith("https://")
    assert set(connector.SILENCE) == IN_FLIGHT
    assert all(timedelta() < silence for silence in connector.SILENCE.values())
    assert timedelta() < connector.VISIBILITY_WINDOW
    assert all(exponent(currency) >= 0 for currency in connector.CURRENCIES or ())
    assert set(connector.CREDENTIALS) == set(sample_of(name).account.credentials)


@every_gateway
def test_a_connector_documents_itself_with_a_link(name: str) -> None:
    module = __import__(f"connectors.{name}", fromlist=[name])

    assert "https://" in (module.__doc__ or "")


# --- signature


@every_gateway
def test_a_good_sample_verifies(name: str) -> None:
    sample = sample_of(name)

    verified = connector_of(name).verify(sample.request(), [sample.secret], NOW)

    assert verified == Verified(NOW if sample.signs_time else None)


@every_gateway
def test_any_live_secret_verifies_and_blank_ones_are_ignored(name: str) -> None:
    sample = sample_of(name)

    verified = connector_of(name).verify(sample.request(), ["", "rotated-out", "  ", sample.secret], NOW)

    assert isinstance(verified, Verified)


@every_gateway
@pytest.mark.parametrize("secrets", [[], [""], [" ", "\t\n"]])
def test_without_a_secret_nothing_verifies_not_even_what_is_signed_with_an_empty_key(
    name: str, secrets: list[str]
) -> None:
    sample = sample_of(name)
    request = WebhookRequest(headers=sample.sign(sample.body, "", NOW), body=sample.body)

    assert reason_of(name, request, secrets) is Reason.NO_SECRET_CONFIGURED


@every_gateway
def test_another_secret_does_not_verify(name: str) -> None:
    sample = sample_of(name)

    reason = reason_of(name, sample.request(), list(sample.other_secrets))

    assert reason in {Reason.SIGNATURE_MISMATCH, Reason.UNKNOWN_KEY}


@every_gateway
def test_a_missing_header_is_refused(name: str) -> None:
    sample = sample_of(name)
    headers = sample.request().headers

    for missing in range(len(headers)):
        rest = [header for index, header in enumerate(headers) if index != missing]
        assert reason_of(name, WebhookRequest(rest, sample.body), [sample.secret]) is Reason.MISSING_HEADER


@every_gateway
@pytest.mark.parametrize("bit", [0x01, 0x10, 0x20, 0x80])
def test_one_flipped_bit_anywhere_in_the_body_is_refused(name: str, bit: int) -> None:
    sample = sample_of(name)
    headers = sample.request().headers

    for position in range(len(sample.body)):
        request = WebhookRequest(headers, flipped(sample.body, position, bit))
        assert reason_of(name, request, [sample.secret]) in ANOTHER_BODY


@every_gateway
@pytest.mark.parametrize("bit", [0x01, 0x10, 0x20, 0x80])
def test_one_flipped_bit_anywhere_in_a_signature_header_is_refused(name: str, bit: int) -> None:
    sample = sample_of(name)
    headers = list(sample.request().headers)

    for index, (header, value) in enumerate(headers):
        for position in range(len(value)):
            changed = [*headers[:index], (header, flipped(value, position, bit)), *headers[index + 1 :]]
            assert reason_of(name, WebhookRequest(changed, sample.body), [sample.secret])


@every_gateway
def test_a_body_with_something_added_or_taken_is_refused(name: str) -> None:
    sample = sample_of(name)
    headers = sample.request().headers

    for body in (sample.body + b"\n", b" " + sample.body, sample.body[:-1], b""):
        assert reason_of(name, WebhookRequest(headers, body), [sample.secret]) in ANOTHER_BODY


@every_gateway
def test_a_signed_time_must_be_near_in_both_directions(name: str) -> None:
    sample = sample_of(name)
    if not sample.signs_time:
        pytest.skip("this gateway signs no time")
    old = sample.request(at=NOW - timedelta(days=1))
    future = sample.request(at=NOW + timedelta(days=1))

    assert reason_of(name, old, [sample.secret]) is Reason.TIMESTAMP_TOO_OLD
    assert reason_of(name, future, [sample.secret]) is Reason.TIMESTAMP_IN_FUTURE


@given(name=names, body=st.binary(max_size=200), texts=st.lists(st.binary(max_size=200), max_size=4))
@example(name=connectors.NAMES[0], body=b"", texts=[b"a" * 100_000])
@example(name=connectors.NAMES[0], body=b"", texts=[b"t=1,s=ab"] * 10_000)
@example(name=connectors.NAMES[-1], body=b"", texts=[b"\xff\xfe", "é".encode("latin-1")])
def test_any_bytes_in_a_signature_header_are_an_invalid_signature_and_nothing_else(
    name: str, body: bytes, texts: list[bytes]
) -> None:
    sample = sample_of(name)
    headers = [(header, text) for header, _ in sample.request().headers for text in texts]

    assert reason_of(name, WebhookRequest(headers, body), [sample.secret]) in Reason


@given(name=names, pieces=st.lists(st.sampled_from(PIECES)))
def test_any_arrangement_of_plausible_pieces_is_an_invalid_signature(name: str, pieces: list[bytes]) -> None:
    sample = sample_of(name)
    headers = [(header, b"".join(pieces)) for header, _ in sample.request().headers]

    assert reason_of(name, WebhookRequest(headers, sample.body), [sample.secret]) in Reason


PARSERS = [
    "connectors._asymmetric.load_der_public_key",
    "connectors._asymmetric.load_pem_public_key",
    "connectors._jws.ECKey.import_key",
    "connectors._standard_webhooks._public_key",
    "connectors._signatures.HMAC",
    "cryptography.x509.load_pem_x509_certificate",
    "cryptography.x509.load_pem_x509_certificates",
]
"""What makes a key of a secret's text."""


@every_gateway
def test_a_key_is_parsed_once_and_not_for_every_request(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sample, connector = sample_of(name), connector_of(name)
    secrets = [*sample.other_secrets, sample.secret]
    connector.verify(sample.request(), secrets, NOW)

    def again(*_: object, **__: object) -> None:
        pytest.fail("a key was parsed a second time")

    for parser in PARSERS:
        monkeypatch.setattr(parser, again)
    connector.verify(sample.request(), secrets, NOW)


# --- event key


@every_gateway
def test_a_message_sent_again_has_the_same_event_key(name: str) -> None:
    sample = sample_of(name)
    again = sample.request(secret=sample.other_secrets[0], at=NOW + timedelta(hours=1))

    key = connector_of(name).event_key(sample.request())

    assert key == connector_of(name).event_key(again)
    assert not key.startswith("sha256:")


@every_gateway
def test_a_message_may_be_news_twice_only_where_it_claims_nothing(name: str) -> None:
    """What a replay of a hint can do is to make us ask. Of anything else the event key must stop it."""
    assert sample_of(name).hints_only or not connectors.connector_class(name).REPEATS_ARE_NEWS


@every_gateway
def test_other_messages_have_other_event_keys(name: str) -> None:
    sample = sample_of(name)
    bodies = [sample.body, sample.other_subject, b"", b"[]", b"{}"]

    keys = {connector_of(name).event_key(WebhookRequest([], body)) for body in bodies}

    assert len(keys) == len(bodies)


@given(name=names, body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
@example(name=connectors.NAMES[0], body=b"[" * 100_000)
@example(name=connectors.NAMES[0], body=b'{"data":' * 100_000)
def test_any_body_has_a_short_event_key(name: str, body: bytes) -> None:
    key = connector_of(name).event_key(WebhookRequest([], body))

    assert_storable(key)


@given(name=names, choice=st.integers(min_value=0), value=json_values)
def test_a_body_with_any_value_in_any_place_has_a_short_event_key(name: str, choice: int, value: Any) -> None:
    body = with_a_leaf_replaced(sample_of(name).body, choice, value)

    key = connector_of(name).event_key(WebhookRequest([], body))

    assert_storable(key)


# --- parse


@every_gateway
def test_the_sample_is_read_in_our_words(name: str) -> None:
    sample = sample_of(name)

    assert connector_of(name).parse(sample.body) == [sample.says]


@every_gateway
def test_every_status_word_maps(name: str) -> None:
    connector = connector_of(name)

    assert connector.STATUSES
    if not sample_of(name).names_its_status:
        pytest.skip("its messages carry no status word; its own test maps each word through `fetch`")
    for word, status in connector.STATUSES.items():
        (update,) = connector.parse(sample_of(name).body_saying(word))
        assert (update.said, update.status) == (word, None if sample_of(name).hints_only else status)


@every_gateway
def test_an_unknown_status_word_is_for_a_person_and_is_not_quoted(name: str) -> None:
    if sample_of(name).hints_only:
        pytest.skip("whatever it says, the gateway is asked")
    body = sample_of(name).body_saying("teleported")

    with pytest.raises(UnreadableEvent, match=r"^(?!.*teleported)"):
        connector_of(name).parse(body)


@every_gateway
def test_another_subject_says_nothing_about_payouts(name: str) -> None:
    assert connector_of(name).parse(sample_of(name).other_subject) == []


@every_gateway
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"1",
        b'"text"',
        b"[1]",
        b"{}",
        b"{",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"type":"\xc3("}',
        b"[" * 200_000,
        b'{"data":' * 200_000,
        b'{"a":' + b"9" * 5_000 + b"}",
    ],
)
def test_a_body_that_is_no_message_is_unreadable(name: str, body: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        connector_of(name).parse(body)


@given(name=names, body=st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_body_is_read_or_unreadable(name: str, body: bytes) -> None:
    assert_read_or_unreadable(name, body)


@given(name=names, choice=st.integers(min_value=0), value=json_values)
def test_the_sample_with_any_value_in_any_place_is_read_or_unreadable(name: str, choice: int, value: Any) -> None:
    assert_read_or_unreadable(name, with_a_leaf_replaced(sample_of(name).body, choice, value))


# --- calls


@every_paying_gateway
def test_a_submission_that_the_gateway_takes_is_accepted_under_our_key(name: str) -> None:
    sample, http = sample_of(name), ScriptedHttp(*sample_of(name).accepted)

    submission = asyncio.run(hand_over(connector_of(name), sample.payable, http))

    assert isinstance(submission, Accepted)
    assert submission.update.reference
    assert sample.says.reference in {submission.update.reference, None}
    assert submission.update.order_key == sample.payable.order_key
    assert submission.update.status in IN_FLIGHT
    assert len(http.sent) == len(sample.accepted)


@every_paying_gateway
def test_a_submission_that_never_left_moved_nothing(name: str) -> None:
    with pytest.raises(GatewayUnavailable):
        asyncio.run(hand_over(connector_of(name), sample_of(name).payable, ScriptedHttp(NotSent("refused"))))


@every_paying_gateway
def test_a_lost_answer_to_any_step_of_a_submission_leaves_the_outcome_unknown(name: str) -> None:
    sample = sample_of(name)

    for step in range(len(sample.accepted)):
        http = ScriptedHttp(*sample.accepted[:step], NoReply("timeout"))
        with pytest.raises(doubt_of(sample, step)):
            asyncio.run(hand_over(connector_of(name), sample.payable, http))
        assert len(http.sent) == step + 1 + (sample.replays if step >= sample.moves_from else 0)


@every_paying_gateway
@pytest.mark.parametrize("status", [302, 408, 409, 500, 502, 503, 504])
def test_an_unclear_answer_to_a_submission_leaves_the_outcome_unknown(name: str, status: int) -> None:
    sample = sample_of(name)

    for step in range(len(sample.accepted)):
        http = ScriptedHttp(*sample.accepted[:step], a_reply(status, {"message": "hm"}))
        with pytest.raises(doubt_of(sample, step)):
            asyncio.run(hand_over(connector_of(name), sample.payable, http))


@every_paying_gateway
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b'{"id":"x"}', b'{"data":[]}', b"[" * 100_000])
def test_a_yes_that_cannot_be_read_leaves_the_outcome_unknown(name: str, body: bytes) -> None:
    sample = sample_of(name)

    for step in range(len(sample.accepted)):
        http = ScriptedHttp(*sample.accepted[:step], HttpReply(201, {}, body))
        with pytest.raises(doubt_of(sample, step)):
            asyncio.run(hand_over(connector_of(name), sample.payable, http))


@every_paying_gateway
@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'{"message":7,"title":{},"errors":[3],"field":[]}'])
def test_a_refused_submission_is_rejected_with_a_code(name: str, status: int, body: bytes) -> None:
    sample = sample_of(name)
    http = ScriptedHttp(*sample.accepted[: sample.moves_from], HttpReply(status, {}, body))

    submission = asyncio.run(hand_over(connector_of(name), sample_of(name).payable, http))

    assert submission == Rejected(code=f"http_{status}", message=f"answered {status}")


@every_paying_gateway
def test_too_many_requests_moved_nothing_and_says_when_to_come_back(name: str) -> None:
    http = ScriptedHttp(a_reply(429, {}, retry_after="30"))

    with pytest.raises(GatewayUnavailable) as unavailable:
        asyncio.run(hand_over(connector_of(name), sample_of(name).payable, http))

    assert unavailable.value.retry_after == timedelta(seconds=30)


@every_preparing_gateway
def test_what_is_prepared_can_be_written_down_and_is_all_that_a_submission_needs(name: str) -> None:
    sample, connector = sample_of(name), connector_of(name)
    preparing = ScriptedHttp(*sample.accepted[: sample.moves_from])
    paying = ScriptedHttp(*sample.accepted[sample.moves_from :])

    memento = json.loads(json.dumps(asyncio.run(connector.prepare(sample.payable, preparing))))
    submission = asyncio.run(connector.submit(replace(sample.payable, memento=memento), paying))

    assert isinstance(submission, Accepted)
    assert len(preparing.sent) == sample.moves_from
    assert len(paying.sent) == len(sample.accepted) - sample.moves_from


@every_preparing_gateway
def test_what_was_not_prepared_is_not_sent(name: str) -> None:
    http = ScriptedHttp(a_reply(500))

    with pytest.raises(GatewayUnavailable):
        asyncio.run(connector_of(name).submit(sample_of(name).payable, http))

    assert http.sent == []


@every_gateway
def test_a_missing_credential_sends_nothing(name: str) -> None:
    options = sample_of(name).account.options
    connector = connectors.connector_class(name)(Account(options=options))
    http = ScriptedHttp(a_reply(500))

    with pytest.raises(GatewayUnavailable, match="credential"):
        asyncio.run(connector.fetch("123", "pay_01JX", http))
    if connector.SUPPORTS_PAYOUTS:
        with pytest.raises(GatewayUnavailable, match="credential"):
            asyncio.run(hand_over(connector, sample_of(name).payable, http))

    assert http.sent == []


@every_listening_gateway
def test_a_connector_that_only_listens_creates_nothing_and_lists_nothing(name: str) -> None:
    order, http = Order(order_key="pay_01JX", amount_minor=1, currency="EUR"), ScriptedHttp(a_reply(500))

    submission = asyncio.run(hand_over(connector_of(name), order, http))

    assert isinstance(submission, Rejected)
    assert submission.code == "payouts_unsupported"
    assert asyncio.run(everything(connector_of(name).list_since(NOW, http))) == []
    assert http.sent == []


@every_listening_gateway
def test_what_a_gateway_answers_about_one_payout_is_read_in_our_words(name: str) -> None:
    sample = sample_of(name)
    if sample.fetched is None:
        pytest.skip("this gateway's answer is tried elsewhere")

    found = asyncio.run(connector_of(name).fetch(sample.says.reference, "pay_01JX", ScriptedHttp(sample.fetched)))

    assert isinstance(found, PayoutUpdate)
    assert (found.reference, found.status) == (sample.says.reference, sample.says.status)


@every_paying_gateway
def test_an_order_without_its_details_is_never_accepted_by_guessing(name: str) -> None:
    order = sample_of(name).payable
    bare = type(order)(order_key=order.order_key, amount_minor=order.amount_minor, currency=order.currency)
    http = ScriptedHttp(a_reply(422, {}))

    assert isinstance(asyncio.run(hand_over(connector_of(name), bare, http)), Rejected)


@every_gateway
def test_a_payout_that_the_gateway_does_not_have_is_not_found(name: str) -> None:
    found = asyncio.run(connector_of(name).fetch("123", "pay_01JX", ScriptedHttp(*sample_of(name).absent)))

    assert found == NotFound()


@every_gateway
@pytest.mark.parametrize("reference", ["123", None])
@pytest.mark.parametrize(
    "line",
    [NotSent("x"), NoReply("x"), a_reply(500), a_reply(302), a_reply(401, {}), HttpReply(200, {}, b"<html>")],
    ids=repr,
)
def test_a_failed_read_teaches_nothing(name: str, reference: str | None, line: HttpReply | Exception) -> None:
    with pytest.raises(GatewayUnavailable):
        asyncio.run(connector_of(name).fetch(reference, "pay_01JX", ScriptedHttp(line)))


@every_gateway
def test_a_list_that_is_not_there_never_means_that_a_payout_is_not(name: str) -> None:
    if sample_of(name).reads_by_key:
        pytest.skip("this gateway reads one payout by our key: no list is in between")
    with pytest.raises(GatewayUnavailable):
        asyncio.run(connector_of(name).fetch(None, "pay_01JX", ScriptedHttp(a_reply(404, {}))))


@every_paying_gateway
def test_a_failed_list_is_unavailable(name: str) -> None:
    if connectors.connector_class(name).list_since is Connector.list_since:
        pytest.skip("this gateway has no list")
    updates = connector_of(name).list_since(NOW, ScriptedHttp(a_reply(503, {})))

    with pytest.raises(GatewayUnavailable):
        asyncio.run(everything(updates))


@every_gateway
def test_a_reference_cannot_lead_to_another_path(name: str) -> None:
    http = ScriptedHttp(*sample_of(name).absent)

    asyncio.run(connector_of(name).fetch("../../x?y=#z", "pay_01JX", http))

    assert not any(".." in re.sub(r"[/=]\.\.%2F\.\.%2Fx%3Fy%3D%23z(?=\?|$)", "", sent.url) for sent in http.sent)


@every_gateway
def test_canceling_is_refused_where_the_gateway_cannot(name: str) -> None:
    http = ScriptedHttp(a_reply(404, {}))

    answer = asyncio.run(connector_of(name).cancel("123", http))

    assert isinstance(answer, Rejected)
    assert bool(http.sent) == connectors.connector_class(name).SUPPORTS_CANCEL


# --- parts


def doubt_of(sample: Sample, step: int) -> type[Exception]:
    """Return how doubt about a step of a submission is told: nobody knows, or nothing can have moved yet."""
    return OutcomeUnknown if step >= sample.moves_from else GatewayUnavailable


def flipped(text: bytes, position: int, bit: int) -> bytes:
    return text[:position] + bytes([text[position] ^ bit]) + text[position + 1 :]


@pytest.mark.parametrize("name", PAYING)
def test_a_connector_that_creates_payouts_says_where_a_direct_one_goes(name: str) -> None:
    connector = connectors.connector_class(name)
    wish = Wish(mode="mtn", first_name="Ada", last_name="Mensah", email="ada@example.com", details={"callback_url": 1})

    assert connector.address is not Connector.address
    with contextlib.suppress(Unaddressable):
        assert "callback_url" not in connector(Account()).address(wish).details
