"""Whatever comes through the door: a clear refusal or a quiet 200, never a 500, and nothing stored unverified."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.types import Message, Receive, Scope, Send
from structlog.testing import capture_logs

import connectors
import receiver.gateways
import receiver.protocol
from models.inbox import InboxState
from models.lifecycle import PayoutStatus
from receiver.directory import Directory, Listener
from receiver.gateways import GatewaysDoor
from receiver.inbox_writer import Arrival, InboxWriter
from receiver.protocol import LARGEST_HEAD
from tests.concurrency import wait_until
from tests.connectors.sample import sample_of
from tests.connectors.samples.paycore import a_callback, an_invoice
from tests.factories import a_payout, an_integration, get_inbox_event, get_payout
from tests.receiver.doors import Door, a_door, a_door_process, answer, answers, closes, head, inbox, news, signed
from workers.apply import apply

# --- verified, but not as agreed: 200, kept, shown to operators


def _events_after_apply() -> list[tuple[str, str | None]]:
    apply([event.id or 0 for event in inbox()])
    stand = [get_inbox_event(event.id or 0) for event in inbox()]
    return [(one.state, one.detail) for one in stand]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\x00",
        b"\xff\xfe not utf-8",
        b"null",
        b"[]",
        b'"text"',
        b"1e999",
        b"NaN",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": {"type": 7}}',
        b'{"data": {"type": "payout-invoices"}}',
        b'{"data": {"type": "payout-invoices", "id": {}, "attributes": "x"}}',
        b"[" * 100_000,
        b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
        b'{"data": {"type": "payout-invoices", "id": "cpoi_1", "attributes": {"status": "\\ud800"}}}',
        news("cpoi_1", "a-word-nobody-knows"),
        news("cpoi_1", "\0"),
        news("cpoi_1", "processed", amount="a lot"),
        news("cpoi_1", "processed", amount=[1]),
        news("cpoi_1", "processed", amount={"value": 1}),
        news("cpoi_1", "processed", updated="yesterday"),
        news("cpoi_1", "processed", updated=10**30),
        news("cpoi_1", "processed", updated=-(10**18)),
    ],
    ids=lambda body: repr(body[:24]),
)
def test_a_verified_body_that_cannot_be_read_is_200_and_shown_to_operators(door: Door, body: bytes) -> None:
    reply = door.post(an_integration(), body)

    assert reply.status == 200
    ((state, detail),) = _events_after_apply()
    assert state == InboxState.UNREADABLE, detail
    assert detail


@pytest.mark.parametrize(
    "attributes",
    [
        {"amount": -1},
        {"amount": 10**30},
        {"amount": -0.0001},
        {"processed_amount": 10**30},
        {"processed_amount": -5},
        {"currency": "XXX"},
        {"currency": "EUR"},
        {"currency": ""},
        {"currency": 7},
        {"reference_id": "x" * 100_000},
        {"reference_id": "nul \0 inside"},
        {"reference_id": "\ud800"},
        {"processed": 10**18},
    ],
    ids=str,
)
def test_absurd_facts_in_a_verified_body_never_break_the_payout_or_its_neighbours(
    door: Door, attributes: dict[str, Any]
) -> None:
    integration = an_integration()
    odd = a_payout(integration, reference="cpoi_odd", amount_minor=100_050, currency="USD")
    sane = a_payout(integration, reference="cpoi_sane", amount_minor=100_050, currency="USD")

    replies = [
        door.post(integration, news("cpoi_odd", **attributes)).status,
        door.post(integration, news("cpoi_sane")).status,
    ]
    states = [state for state, _ in _events_after_apply()]

    assert replies == [200, 200]
    assert states[1] == InboxState.APPLIED
    assert get_payout(sane.id).status == PayoutStatus.DELIVERED
    payout = get_payout(odd.id)
    assert (payout.amount_minor, payout.currency) == (100_050, "USD")
    assert payout.status in (PayoutStatus.PENDING, PayoutStatus.DELIVERED)
    assert states[0] in (InboxState.APPLIED, InboxState.UNREADABLE, InboxState.POISON)


@pytest.mark.parametrize(
    "identity",
    ["nul \0 inside", "\ud800", "x" * 200_000, "\u202e", "'; DROP TABLE payout; --"],
    ids=lambda i: repr(i[:9]),
)
def test_an_absurd_reference_is_stored_and_does_not_stop_the_next_one(door: Door, identity: str) -> None:
    integration = an_integration()
    body = a_callback(an_invoice() | {"id": identity})

    replies = [door.post(integration, body).status, door.post(integration, news("cpoi_next")).status]
    states = [state for state, _ in _events_after_apply()]

    assert replies == [200, 200]
    assert states[0] != InboxState.NEW
    assert states[1] == InboxState.UNMATCHED


def test_what_is_about_something_else_is_200_and_changes_nothing(door: Door) -> None:
    reply = door.post(an_integration(), sample_of("paycore").other_subject)

    assert reply.status == 200
    assert _events_after_apply() == [(InboxState.APPLIED, None)]


# --- signatures


_GARBAGE = [
    b"",
    b" ",
    b"\xff\xfe\xfd",
    b"A" * 60_000,
    b"=" * 100,
    b"t=,s=",
    b"t=1,s=zz",
    b"t=99999999999999999999,s=00",
    b"sha256=",
    b"sha256=" + b"0" * 64,
    b"v1,AAAA",
    b"{}",
    b",,,,,,",
    b"null",
]


SIGN_THE_PATH = {"pawapay", "truelayer"}
"""What their samples sign holds a path and a host that are not this door's; the contract suite covers the good case."""


SIGN_THE_FORM = {"adyen", "cashfree"}
"""Their signatures stand in the body or are made of its fields, so not any bytes can be signed."""


def _signature_headers(name: str) -> list[bytes]:
    sample = sample_of(name)
    return [header for header, _ in sample.sign(sample.body, sample.secret, datetime.now(UTC))]


@pytest.mark.parametrize("garbage", _GARBAGE, ids=lambda g: repr(g[:12]))
@pytest.mark.parametrize("name", connectors.NAMES)
def test_garbage_in_a_signature_header_is_401(door: Door, name: str, garbage: bytes) -> None:
    sample = sample_of(name)
    integration = an_integration(name, webhook_secrets=(sample.secret,), options=dict(sample.account.options))

    for header in _signature_headers(name):
        with door.connect() as connection:
            lines = head(integration.slug, f"content-length: {len(sample.body)}")
            connection.sendall(lines[:-2] + header + b": " + garbage + b"\r\n\r\n" + sample.body)
            reply = answer(connection)

        # A scheme may sign headers that HTTP itself reads, such as content-length: garbage there is no request at all.
        assert (reply.status, reply.code) in {(401, "invalid_signature"), (400, "malformed_request")}
    assert inbox() == []


@pytest.mark.parametrize("name", connectors.NAMES)
def test_ten_thousand_signature_headers_are_431(door: Door, name: str) -> None:
    sample = sample_of(name)
    integration = an_integration(name, webhook_secrets=(sample.secret,), options=dict(sample.account.options))
    many = (_signature_headers(name)[0] + b": AA\r\n") * 10_000
    with door.connect() as connection:
        _send(connection, head(integration.slug, f"content-length: {len(sample.body)}")[:-2] + many + b"\r\n")

        reply = answer(connection)

    assert (reply.status, reply.code) == (431, "too_many_headers")
    assert inbox() == []


@pytest.mark.parametrize("name", connectors.NAMES)
def test_a_hundred_signatures_are_no_better_than_one(door: Door, name: str) -> None:
    sample = sample_of(name)
    integration = an_integration(name, webhook_secrets=(sample.secret,), options=dict(sample.account.options))
    forged = sample.sign(b"{}", sample.secret, datetime.now(UTC)) * 100
    with door.connect() as connection:
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in forged)
        connection.sendall(
            head(integration.slug, f"content-length: {len(sample.body)}")[:-2] + lines + b"\r\n" + sample.body
        )

        reply = answer(connection)

    assert reply.status in {400, 401, 431}
    assert inbox() == []


@pytest.mark.parametrize("name", connectors.NAMES)
def test_one_changed_byte_of_the_body_is_401(door: Door, name: str) -> None:
    sample = sample_of(name)
    integration = an_integration(name, webhook_secrets=(sample.secret,), options=dict(sample.account.options))
    headers = {n.decode(): v.decode() for n, v in sample.sign(sample.body, sample.secret, datetime.now(UTC))}
    changed = sample.body[:-1] + bytes([sample.body[-1] ^ 1])

    refused = [door.post(integration, body, headers).status for body in (changed, sample.body + b" ", b"")]
    stored = [] if name in SIGN_THE_PATH else [door.post(integration, sample.body, headers).status]

    assert set(refused) <= {400, 401}
    assert stored in ([], [200])
    assert [event.body for event in inbox()] == [sample.body] * len(stored)


# --- HTTP


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET\r\n\r\n",
        b"\x00" * 100,
        b"POST /webhooks/x HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /webhooks/\xff HTTP/1.1\r\nhost: x\r\n\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\nna\x00me: x\r\n\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\nname: a\x00b\r\n\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: 1,1\r\n\r\nx",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /webhooks/x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n",
    ],
)
def test_what_is_not_http_is_refused_in_words_and_the_door_stays_open(door: Door, request_bytes: bytes) -> None:
    with door.connect() as connection:
        connection.sendall(request_bytes)
        reply = answer(connection)

    assert reply.status in (400, 404)
    assert reply.code in ("malformed_request", "unknown_integration")
    assert door.is_alive()


def test_a_body_with_two_lengths_is_refused_so_that_nobody_can_smuggle_one(door: Door) -> None:
    integration, body = an_integration(), news()
    lines = [
        f"content-length: {len(body)}",
        "transfer-encoding: chunked",
        f"x-signature: {signed(body)['x-signature']}",
    ]
    smuggled = head(integration.slug, "content-length: 0")
    with door.connect() as connection:
        connection.sendall(head(integration.slug, *lines) + b"0\r\n\r\n" + smuggled)
        reply = answer(connection)

        assert (reply.status, reply.code) == (400, "malformed_request")
        assert closes(connection)
    assert inbox() == []


def test_pipelined_webhooks_are_answered_in_their_order(door: Door) -> None:
    integration = an_integration()
    bodies = [news(f"cpoi_{n}") for n in range(20)]
    signatures = [signed(body)["x-signature"] if n % 3 else "AAAA" for n, body in enumerate(bodies)]
    with door.connect() as connection:
        for body, signature in zip(bodies, signatures, strict=True):
            connection.sendall(
                head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signature}") + body
            )
        replies = [reply.status for reply in answers(connection, len(bodies))]

    assert replies == [200 if n % 3 else 401 for n in range(20)]
    assert [event.body for event in inbox()] == [body for n, body in enumerate(bodies) if n % 3]


def test_garbage_after_a_good_webhook_does_not_take_its_answer(door: Door) -> None:
    integration, body = an_integration(), news()
    door.post(integration, news("cpoi_warm"))
    with door.connect() as connection:
        good = (
            head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signed(body)['x-signature']}") + body
        )
        connection.sendall(good + b"\x00garbage\r\n\r\n")
        replies = answers(connection, 2)

        assert [reply.status for reply in replies] == [200, 400]
        assert closes(connection)
    assert len(inbox()) == 2


def test_a_gateway_that_closes_its_side_after_the_body_is_still_answered(door: Door) -> None:
    integration, body = an_integration(), news()
    with door.connect() as connection:
        connection.sendall(
            head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signed(body)['x-signature']}") + body
        )
        connection.shutdown(socket.SHUT_WR)
        reply = answer(connection)

        assert reply.status == 200
        assert closes(connection)
    assert len(inbox()) == 1


def test_a_gateway_that_hangs_up_before_the_answer_loses_nothing(door: Door) -> None:
    integration, body = an_integration(), news()
    for _ in range(20):
        connection = door.connect()
        connection.sendall(
            head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signed(body)['x-signature']}") + body
        )
        connection.close()

    wait_until(lambda: len(inbox()) == 1)
    assert door.post(integration, body).status == 200
    assert len(inbox()) == 1


@pytest.mark.parametrize("sent", [0, 10])
def test_a_gateway_that_hangs_up_within_the_body_leaves_nothing(door: Door, sent: int) -> None:
    integration, body = an_integration(), news()
    with door.connect() as connection:
        lines = [f"content-length: {len(body)}", f"x-signature: {signed(b'')['x-signature']}"]
        connection.sendall(head(integration.slug, *lines) + body[:sent])

    assert door.is_alive()
    assert inbox() == []


def test_an_expecting_gateway_is_told_to_continue(door: Door) -> None:
    integration, body = an_integration(), news()
    with door.connect() as connection:
        lines = [f"content-length: {len(body)}", "expect: 100-continue", f"x-signature: {signed(body)['x-signature']}"]
        connection.sendall(head(integration.slug, *lines))
        told = connection.recv(25)
        connection.sendall(body)
        reply = answer(connection)

    assert told == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert reply.status == 200


def test_a_websocket_is_not_spoken_here(door: Door) -> None:
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-key": "x", "sec-websocket-version": "13"}

    reply = door.ask("GET", f"/webhooks/{an_integration().slug}", headers=upgrade)

    assert reply.status == 405


# --- what does not end


@pytest.fixture
def hurried_door(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    monkeypatch.setattr(receiver.gateways, "BODY_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(receiver.protocol, "MESSAGE_SECONDS", 0.6)
    with a_door() as door:
        yield door


def test_a_body_that_trickles_is_408(hurried_door: Door) -> None:
    with hurried_door.connect() as connection:
        connection.sendall(head(an_integration().slug, "content-length: 1000") + b"x")

        reply = answer(connection)

    assert (reply.status, reply.code) == (408, "body_too_slow")
    assert inbox() == []


@pytest.mark.parametrize("beginning", [b"", b"P", b"POST /webhooks/x HTTP/1.1\r\nhost"])
def test_a_head_that_never_ends_is_408_and_cut_off(hurried_door: Door, beginning: bytes) -> None:
    with hurried_door.connect() as connection:
        connection.sendall(beginning)
        reply = answer(connection)

        assert (reply.status, reply.code) == (408, "request_too_slow")
        assert closes(connection)


def test_a_body_that_never_begins_is_408_and_cut_off(hurried_door: Door) -> None:
    with hurried_door.connect() as connection:
        connection.sendall(head(an_integration().slug, "content-length: 1000"))
        reply = answer(connection)

        assert (reply.status, reply.code) == (408, "request_too_slow")
        assert closes(connection)


def test_a_body_that_trickles_on_after_its_answer_is_cut_off_without_another(hurried_door: Door) -> None:
    with hurried_door.connect() as connection:
        connection.sendall(head("nobody", "content-length: 1000") + b"x")

        assert answer(connection).status == 404
        assert closes(connection)


def test_a_kept_connection_may_rest_between_webhooks(hurried_door: Door) -> None:
    integration, body = an_integration(), news()
    request = (
        head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signed(body)['x-signature']}") + body
    )
    with hurried_door.connect() as connection:
        connection.sendall(request)
        first = answer(connection).status
        connection.settimeout(0.8)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(10)
        connection.sendall(request)
        second = answer(connection).status

    assert (first, second) == (200, 200)


def test_a_million_headers_are_431_and_cost_no_memory(database: None) -> None:
    with a_door_process() as door:
        door.is_alive()
        assert door.process is not None
        memory = psutil.Process(door.process.pid).memory_info
        before = memory().rss
        with door.connect() as connection:
            _send(connection, head("x")[:-2] + b"a: b\r\n" * 1_000_000)
            reply = answer(connection)
            assert closes(connection)
        grown = memory().rss - before

    assert (reply.status, reply.code) == (431, "too_many_headers")
    assert grown < 8 * 1024 * 1024


@pytest.mark.parametrize(
    "endless",
    [
        b"a: " + b"x" * 10_000_000,
        b"x" * 10_000_000,
        b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 1_000_000,
        b"transfer-encoding: chunked\r\n\r\n1;" + b"x" * 10_000_000,
    ],
    ids=["one value", "one name", "trailers", "chunk extension"],
)
def test_every_part_of_a_request_that_is_not_body_is_bounded(door: Door, endless: bytes) -> None:
    with door.connect() as connection:
        _send(connection, head(an_integration().slug)[:-2] + endless)

        reply = answer(connection)

    assert reply.status in (400, 431)
    assert inbox() == []


def test_empty_lines_without_end_are_cut_off(door: Door) -> None:
    with door.connect() as connection:
        _send(connection, b"\r\n" * 5_000_000)

        assert answer(connection).status in (400, 431)


def test_a_head_just_below_the_bound_is_taken(door: Door) -> None:
    integration, body = an_integration(), news()
    lines = head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signed(body)['x-signature']}", "a: ")
    filled = lines[:-4] + b"x" * (LARGEST_HEAD - len(lines) - 200) + b"\r\n\r\n"
    with door.connect() as connection:
        connection.sendall(filled + body)

        reply = answer(connection)

    assert reply.status == 200


def test_large_pipelined_bodies_are_not_mistaken_for_a_large_head(door: Door) -> None:
    integration, body = an_integration(), news() + b" " * 200_000
    request = (
        head(integration.slug, f"content-length: {len(body)}", f"x-signature: {signed(body)['x-signature']}") + body
    )
    with door.connect() as connection, ThreadPoolExecutor(1) as pool:
        pool.submit(connection.sendall, request * 10)
        replies = [reply.status for reply in answers(connection, 10)]

    assert replies == [200] * 10


def _send(connection: socket.socket, request: bytes) -> None:
    """Send as much as the door takes."""
    try:
        connection.sendall(request)
    except OSError:
        return


# --- anything at all


class _Shelf(InboxWriter):
    """Keeps what it is given, instead of a database."""

    def __init__(self) -> None:
        self.stored: list[Arrival] = []

    def store(self, arrival: Arrival) -> "asyncio.Future[None]":
        self.stored.append(arrival)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done


def _listener(name: str) -> Listener:
    sample = sample_of(name)
    return Listener(1, name, connectors.connector_class(name)(sample.account), (sample.secret,))


async def _nothing_else(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError(scope)


def _call(door: GatewaysDoor, scope: dict[str, Any], messages: list[Message]) -> list[Message]:
    sent: list[Message] = []
    arriving = iter(messages)

    async def receive() -> Message:
        return next(arriving, {"type": "http.disconnect"})

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(door(scope, receive, send))
    return sent


_NAMES = st.sampled_from([b"x-signature", b"x-mollie-signature", b"x-fedapay-signature", b"content-length"])
_HEADERS = st.lists(st.tuples(_NAMES | st.binary(max_size=20), st.binary(max_size=200)), max_size=12)
_PIECES = st.lists(st.binary(max_size=400), min_size=1, max_size=5)


@pytest.mark.parametrize("name", connectors.NAMES)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(headers=_HEADERS, pieces=_PIECES, path=st.binary(max_size=80), is_whole=st.booleans())
def test_any_bytes_at_all_are_refused_in_words(
    name: str, headers: list[tuple[bytes, bytes]], pieces: list[bytes], path: bytes, *, is_whole: bool
) -> None:
    shelf = _Shelf()
    door = GatewaysDoor(Directory(lambda: {name: _listener(name)}), shelf, _nothing_else)
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"/webhooks/{name}",
        "raw_path": b"/webhooks/" + path,
        "query_string": path,
        "headers": headers,
    }
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages[-1]["more_body"] = not is_whole

    with capture_logs():
        start, body = _call(door, scope, messages)

    assert start["status"] in (401, 408, 413)
    assert json.loads(body["body"])["code"] in ("invalid_signature", "body_too_slow", "body_too_large")
    assert shelf.stored == []


@pytest.mark.parametrize("name", connectors.NAMES)
@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=2000))
def test_any_signed_bytes_at_all_are_stored_as_they_are(name: str, body: bytes) -> None:
    if name in SIGN_THE_PATH | SIGN_THE_FORM:
        pytest.skip("its signature is bound to the form of the body, or to a path that is not this door's")
    shelf = _Shelf()
    door = GatewaysDoor(Directory(lambda: {name: _listener(name)}), shelf, _nothing_else)
    headers = sample_of(name).sign(body, sample_of(name).secret, datetime.now(UTC))
    scope = {"type": "http", "method": "POST", "path": f"/webhooks/{name}", "query_string": b"", "headers": headers}

    start, _ = _call(door, scope, [{"type": "http.request", "body": body}])

    assert start["status"] == 200
    assert [arrival.body for arrival in shelf.stored] == [body]
