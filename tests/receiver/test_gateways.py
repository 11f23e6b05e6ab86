"""The answers of the gateways' door, as the architecture lists them, and what stands in the database afterwards."""

import base64
import contextlib
import json
import re
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psutil
import psycopg
import pytest
from sqlalchemy import text

import receiver.inbox_writer
from embedded.postgres import Postgres
from models.database import engine, transaction
from models.integration import Integration, IntegrationSecrets
from models.lifecycle import PayoutStatus
from receiver.gateways import LARGEST_BODY
from reconciler.sweep import sweep_inbox
from sandbox.signers import bridgerpay
from tests.concurrency import somebody_waits_for_a_lock, wait_until
from tests.factories import SECRET, a_payout, an_integration, get_payout
from tests.receiver.doors import Door, a_door, a_door_process, answer, head, inbox, news, signed, states
from tests.servers import a_postgres, a_redis, log_of, migrate
from workers.apply import apply
from workers.broker import broker

# --- 200


def test_a_signed_webhook_is_stored_as_it_arrived(door: Door) -> None:
    integration = an_integration()
    body = news("cpoi_7")

    reply = door.post(integration, body, {**signed(body), "Retry-Count": "2"})

    assert (reply.status, json.loads(reply.body)) == (200, {"status": "stored"})
    (event,) = inbox()
    assert (event.integration_id, event.body, states()) == (integration.id, body, ["new"])
    assert b"retry-count: 2" in event.header_lines.split(b"\n")


def test_a_repetition_is_answered_200_and_stored_once(door: Door) -> None:
    integration = an_integration()

    replies = [door.post(integration, news("cpoi_7")).status for _ in range(3)]

    assert replies == [200, 200, 200]
    assert len(inbox()) == 1


def test_the_same_key_with_another_body_is_stored_too_and_becomes_a_conflict(door: Door) -> None:
    integration = an_integration()
    payout = a_payout(integration, reference="cpoi_7", amount_minor=100_050, currency="USD")

    replies = [door.post(integration, news("cpoi_7", amount=amount)).status for amount in (1000.5, 9999.99)]
    apply([event.id or 0 for event in inbox()])

    assert replies == [200, 200]
    assert states() == ["applied", "conflict"]
    assert not get_payout(payout.id).is_disputed


def _hint(door: Door, integration: Integration, server_time: int = 1) -> int:
    """Have BridgerPay tell that there is news of a payout, which is all it can tell."""
    charge = {"type": "approved", "id": "8ac7a4a1", "operation_type": "payout"}
    told = {"webhook": {"type": "approved"}, "data": {"order_id": "order-1", "charge": charge}}
    body = json.dumps({**told, "meta": {"server_time": server_time}}).encode()
    return door.post(integration, body, dict(bridgerpay.sign(body, SECRET, 0))).status


def test_a_hint_that_comes_again_at_once_is_a_repetition(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.gateways.REPEAT_SECONDS", 1e9)
    integration = an_integration("bridgerpay")

    replies = [_hint(door, integration) for _ in range(3)]

    assert replies == [200, 200, 200]
    assert len(inbox()) == 1


def test_a_hint_that_comes_again_later_is_another_and_asks_again(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.gateways.REPEAT_SECONDS", 1e-6)
    integration = an_integration("bridgerpay")
    payout = a_payout(integration, order_key="order-1")

    asked = []
    for number in range(2):
        _hint(door, integration)
        apply([inbox()[number].id or 0])
        asked.append(get_payout(payout.id).next_poll_at)

    assert states() == ["applied", "applied"]
    assert asked[0] is not None
    assert asked[1] is not None
    assert asked[0] < asked[1] <= datetime.now(UTC)


def test_hints_that_differ_in_what_nobody_reads_are_no_conflict(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("receiver.gateways.REPEAT_SECONDS", 1e9)
    integration = an_integration("bridgerpay")
    a_payout(integration, order_key="order-1")

    replies = [_hint(door, integration, server_time) for server_time in (1, 2)]
    apply([event.id or 0 for event in inbox()])

    assert replies == [200, 200]
    assert states() == ["applied", "applied"]


def test_a_message_that_says_more_than_a_hint_is_stored_once_however_late(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.gateways.REPEAT_SECONDS", 1e-6)
    integration = an_integration()

    for _ in range(2):
        door.post(integration, news("cpoi_7"))

    assert len(inbox()) == 1


def test_the_same_event_at_two_integrations_is_two_events(door: Door) -> None:
    first, second = an_integration(), an_integration()

    replies = [door.post(integration, news("cpoi_7")).status for integration in (first, second)]

    assert replies == [200, 200]
    assert [event.integration_id for event in inbox()] == [first.id, second.id]


def test_credentials_in_the_headers_are_not_kept(door: Door) -> None:
    body = news()
    secrets = {
        "Authorization": "Bearer top-secret",
        "Cookie": "session=top-secret",
        "Proxy-Authorization": "top-secret",
    }

    door.post(an_integration(), body, {**signed(body), **secrets, "User-Agent": "PayCore"})

    (event,) = inbox()
    assert b"top-secret" not in event.header_lines
    assert b"user-agent: PayCore" in event.header_lines


def test_a_stored_webhook_is_queued_for_the_workers(door: Door) -> None:
    broker.flush_all()

    door.post(an_integration(), news())

    wait_until(lambda: bool(broker.client.llen("ratchet:apply")))


def test_nothing_is_answered_before_the_commit(door: Door) -> None:
    integration, body = an_integration(), news()
    door.post(integration, news("cpoi_warm"))  # the writer is connected and the directory is fresh
    with engine().connect() as other, door.connect() as connection:
        other.execute(text("LOCK TABLE inbox_event IN SHARE MODE"))

        lines = [f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in signed(body).items())]
        connection.sendall(head(integration.slug, *lines) + body)
        wait_until(somebody_waits_for_a_lock)
        answered_early = select.select([connection], [], [], 0.2)[0]
        other.rollback()
        reply = answer(connection)

    assert not answered_early
    assert reply.status == 200
    assert len(inbox()) == 2


def test_a_hundred_gateways_at_once_are_all_answered_and_all_stored(door: Door) -> None:
    integration = an_integration()

    with ThreadPoolExecutor(20) as pool:
        replies = list(pool.map(lambda n: door.post(integration, news(f"cpoi_{n}")).status, range(100)))

    assert replies == [200] * 100
    assert len({event.event_key for event in inbox()}) == 100


# --- refusals


def test_a_webhook_without_a_signature_is_401_with_the_reason(door: Door) -> None:
    reply = door.post(an_integration(), news(), {})

    assert (reply.status, reply.code) == (401, "invalid_signature")
    assert json.loads(reply.body)["detail"] == "missing_header"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (signed(b"other")["x-signature"], "signature_mismatch"),
        ("!!", "bad_encoding"),
        (",".join(["QQ=="] * 2), "bad_encoding"),
        ("", "signature_mismatch"),
    ],
)
def test_a_wrong_signature_is_401_with_the_reason(door: Door, header: str, reason: str) -> None:
    reply = door.post(an_integration(), news(), {"x-signature": header})

    assert (reply.status, reply.code, json.loads(reply.body)["detail"]) == (401, "invalid_signature", reason)


def test_the_secret_of_another_integration_opens_nothing(door: Door) -> None:
    an_integration(webhook_secrets=("theirs",))
    body = news()

    assert door.post(an_integration(), body, signed(body, "theirs")).status == 401
    assert inbox() == []


def test_both_secrets_verify_while_one_is_replaced(door: Door) -> None:
    integration = an_integration(webhook_secrets=("old", "new"))

    replies = [door.post(integration, news(word), signed(news(word), word)).status for word in ("old", "new", "older")]

    assert replies == [200, 200, 401]


@pytest.mark.parametrize("secrets", [(), ("",), ("  ", "\t")])
@pytest.mark.parametrize("body", [b"", b"{", news(), b"x" * (LARGEST_BODY + 1)])
def test_without_a_secret_everything_is_403(door: Door, secrets: tuple[str, ...], body: bytes) -> None:
    integration = an_integration(webhook_secrets=secrets)
    empty_key = signed(body, secrets[0] if secrets else "")

    reply = door.post(integration, body, empty_key)

    assert (reply.status, reply.code) == (403, "webhook_secret_missing")
    assert inbox() == []


@pytest.mark.parametrize("path", ["/webhooks/nobody", "/webhooks/", "/webhooks/a/b", "/webhooks/" + "x" * 5000])
def test_an_unknown_integration_is_404(door: Door, path: str) -> None:
    reply = door.ask("POST", path, news(), signed(news()))

    assert (reply.status, reply.code) == (404, "unknown_integration")


@pytest.mark.parametrize("path", ["/", "/webhooks", "/nothing", "//webhooks/x", "/%2e%2e/webhooks"])
def test_an_unknown_path_is_404(door: Door, path: str) -> None:
    reply = door.ask("POST", path, news(), signed(news()))

    assert (reply.status, reply.code) == (404, "not_found")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_another_method_is_405_and_names_the_right_one(door: Door, method: str) -> None:
    reply = door.ask(method, f"/webhooks/{an_integration().slug}", news(), signed(news()))

    assert (reply.status, reply.code, reply.headers["allow"]) == (405, "method_not_allowed", "POST")
    assert inbox() == []


def test_a_body_of_the_largest_size_is_taken_and_one_byte_more_is_413(door: Door) -> None:
    integration = an_integration()
    largest = news() + b" " * (LARGEST_BODY - len(news()))

    fits = door.post(integration, largest)
    exceeds = door.post(integration, largest + b" ")

    assert fits.status == 200
    assert (exceeds.status, exceeds.code) == (413, "body_too_large")
    assert len(inbox()) == 1


def test_an_announced_giant_is_413_before_a_byte_of_it_is_read(door: Door) -> None:
    with door.connect() as connection:
        connection.sendall(head(an_integration().slug, "content-length: 99999999999"))

        reply = answer(connection)

    assert (reply.status, reply.code) == (413, "body_too_large")


def test_an_endless_chunked_body_is_413_and_then_cut_off(door: Door) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with door.connect() as connection:
        connection.sendall(head(an_integration().slug, "transfer-encoding: chunked"))

        sent = _send_until_cut_off(connection.sendall, chunk)

    assert sent < 32 * 1024 * 1024
    assert inbox() == []


def test_a_chunked_body_within_the_bound_is_taken(door: Door) -> None:
    body = news()
    integration, (name, value) = an_integration(), next(iter(signed(body).items()))
    with door.connect() as connection:
        connection.sendall(head(integration.slug, "transfer-encoding: chunked", f"{name}: {value}"))
        for byte in body:
            connection.sendall(b"1\r\n" + bytes([byte]) + b"\r\n")
        connection.sendall(b"0\r\n\r\n")

        reply = answer(connection)

    assert reply.status == 200
    assert [event.body for event in inbox()] == [body]


def test_one_integration_that_floods_is_429_and_the_others_get_through(
    database: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    flooding, other = an_integration(), an_integration()
    monkeypatch.setattr(receiver.inbox_writer, "LONGEST_QUEUE", 8)
    monkeypatch.setattr(receiver.inbox_writer, "LARGEST_BATCH", 1)
    with a_door() as door, ThreadPoolExecutor(40) as pool, engine().connect() as lock:
        door.post(other, news("cpoi_warm"))
        lock.execute(text("LOCK TABLE inbox_event IN SHARE MODE"))

        flood = [pool.submit(door.post, flooding, news(f"cpoi_{n}")) for n in range(20)]
        wait_until(lambda: sum(reply.done() for reply in flood) == 20 - 1 - 4)
        through = pool.submit(door.post, other, news("cpoi_other"))
        lock.rollback()
        replies = [reply.result() for reply in flood]

    refused = [reply for reply in replies if reply.status == 429]
    assert through.result().status == 200
    assert {(reply.code, reply.headers["retry-after"]) for reply in refused} == {("too_many_requests", "1")}
    assert len(inbox()) == 2 + sum(reply.status == 200 for reply in replies)


def test_refused_requests_leave_nothing_behind(door: Door) -> None:
    integration, silent = an_integration(), an_integration(webhook_secrets=())

    door.post(integration, news(), {})
    door.post(integration, news(), {"x-signature": base64.b64encode(b"\0" * 20).decode()})
    door.post(silent, news())
    door.post("nobody", news())
    door.post(integration, b"x" * (LARGEST_BODY + 1))
    door.ask("PUT", f"/webhooks/{integration.slug}", news(), signed(news()))

    assert inbox() == []


def test_every_refusal_is_counted_with_its_reason(door: Door) -> None:
    integration = an_integration(slug="counted")

    door.post(integration, news(), {})

    figures = door.ask("GET", "/metrics").body.decode()
    assert re.search(
        r'ratchet_webhooks_refused_total\{integration="counted",reason="missing_header"\} 1\.0', figures
    ), figures


# --- integrations come and go


def test_a_new_integration_is_heard_within_a_second(database: None) -> None:
    with a_door() as door:
        before = door.post("not-yet", news()).status
        an_integration(slug="not-yet")

        first_heard = _seconds_until(lambda: door.post("not-yet", news()).status == 200)

    assert before == 404
    assert first_heard < 1.0


def test_a_disabled_integration_is_404_within_seconds(door: Door) -> None:
    integration = an_integration()
    assert door.post(integration, news()).status == 200

    with transaction() as session:
        session.get_one(Integration, integration.id).is_active = False

    assert _seconds_until(lambda: door.post(integration, news("cpoi_2")).status == 404) < 5.0


def test_a_secret_that_was_taken_away_opens_nothing_once_the_directory_is_renewed(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.directory.FRESH_SECONDS", 0.1)
    integration = an_integration()
    assert door.post(integration, news()).status == 200

    with transaction() as session:
        session.get_one(Integration, integration.id).keep(IntegrationSecrets(("another",)))

    assert _seconds_until(lambda: door.post(integration, news("cpoi_2")).status == 401) < 5.0


# --- servers come and go


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[Postgres]:
    with a_postgres() as server:
        migrate(server.url())
        _insert_paycore(server.url())
        yield server


def _insert_paycore(database_url: str) -> None:
    integration = Integration(slug="paycore", connector="paycore", sealed=b"", has_webhook_secret=True)
    integration.keep(IntegrationSecrets((SECRET,)))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO integration (slug, connector, sealed, has_webhook_secret, is_active, payouts_enabled,"
            " created_at, updated_at) VALUES ('paycore', 'paycore', %s, true, true, true, now(), now())",
            [integration.sealed],
        )


def _count(server: Postgres) -> int:
    with psycopg.connect(server.url()) as connection:
        row = connection.execute("SELECT count(*) FROM inbox_event").fetchone()
    assert row is not None
    return int(row[0])


def test_while_postgresql_is_away_it_is_503_and_afterwards_200_again(own_postgres: Postgres) -> None:
    with a_door_process(DATABASE_URL=own_postgres.url()) as door:
        assert door.post("paycore", news("cpoi_1")).status == 200

        own_postgres.stop()
        while_away = [door.post("paycore", news("cpoi_2")) for _ in range(3)]
        own_postgres.start()
        wait_until(lambda: door.post("paycore", news("cpoi_2")).status == 200)

    assert {(reply.status, reply.code) for reply in while_away} == {(503, "not_stored")}
    assert all(int(reply.headers["retry-after"]) > 0 for reply in while_away)
    assert _count(own_postgres) == 2


def test_while_postgresql_answers_nothing_at_all_it_is_503_within_seconds_and_afterwards_200_again(
    own_postgres: Postgres,
) -> None:
    with a_door_process(DATABASE_URL=own_postgres.url()) as door:
        assert door.post("paycore", news("cpoi_quiet")).status == 200
        with _frozen(own_postgres):
            asked = time.monotonic()
            wait_until(lambda: door.post("stranger", news("cpoi_frozen")).status == 503)
            known = door.post("paycore", news("cpoi_frozen"))
            waited = time.monotonic() - asked

        wait_until(lambda: door.post("paycore", news("cpoi_frozen")).status == 200)
        wait_until(lambda: door.post("stranger", news("cpoi_frozen")).status == 404)

    assert (known.status, known.code) == (503, "not_stored")
    assert waited < 12


@contextlib.contextmanager
def _frozen(server: Postgres) -> Iterator[None]:
    """Stop every process of PostgreSQL without ending it: connections stand, and nothing answers on them."""
    assert server.process
    postmaster = psutil.Process(server.process.pid)
    processes = [postmaster, *postmaster.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_a_door_that_starts_before_postgresql_serves_once_it_is_there(own_postgres: Postgres) -> None:
    url = own_postgres.url()
    own_postgres.stop()
    with a_door_process(DATABASE_URL=url) as door:
        early = door.post("paycore", news("cpoi_early"))
        own_postgres.start()

        wait_until(lambda: door.post("paycore", news("cpoi_early")).status == 200)

    assert (early.status, early.code) == (503, "not_stored")


def test_a_crash_of_postgresql_loses_nothing_that_was_answered_200(own_postgres: Postgres) -> None:
    before, answered = _count(own_postgres), 0
    with a_door_process(DATABASE_URL=own_postgres.url()) as door:
        is_over = threading.Event()

        def gateway(name: int) -> int:
            stored = n = 0
            while not is_over.is_set():
                stored += door.post("paycore", news(f"cpoi_crash_{name}_{n}")).status == 200
                n += 1
            return stored

        with ThreadPoolExecutor(4) as pool:
            gateways = [pool.submit(gateway, name) for name in range(4)]
            wait_until(lambda: _count(own_postgres) > before + 50)
            own_postgres.stop(how=signal.SIGQUIT)
            own_postgres.start()
            count = _count(own_postgres)
            wait_until(lambda: _count(own_postgres) > count + 50)
            is_over.set()
            answered = sum(one.result() for one in gateways)

    assert answered > 100
    assert _count(own_postgres) - before >= answered


def test_without_redis_it_is_200_and_the_sweep_queues_it_later(database: None, monkeypatch: pytest.MonkeyPatch) -> None:
    integration = an_integration()
    payout = a_payout(integration, reference="cpoi_7", amount_minor=100_050, currency="USD")
    with a_redis() as own_redis:
        url = own_redis.url
    broker.flush_all()
    monkeypatch.setattr("reconciler.sweep.FORGOTTEN_AFTER", timedelta(days=-1))

    with a_door_process(REDIS_URL=url) as door:
        replies = [door.post(integration, news("cpoi_7")).status for _ in range(2)]
        assert door.process is not None
        process = door.process
        wait_until(lambda: "hints.queue_away" in log_of(process))
    sweep_inbox()

    assert replies == [200, 200]
    assert broker.client.llen("ratchet:apply") == 1
    apply([event.id or 0 for event in inbox()])
    assert get_payout(payout.id).status == PayoutStatus.DELIVERED


def test_a_door_that_is_told_to_stop_answers_what_it_has_begun(database: None) -> None:
    integration = an_integration()
    with a_door_process() as door, engine().connect() as lock, ThreadPoolExecutor(1) as pool:
        door.post(integration, news("cpoi_warm"))
        lock.execute(text("LOCK TABLE inbox_event IN SHARE MODE"))
        begun = pool.submit(door.post, integration, news("cpoi_begun"))
        wait_until(somebody_waits_for_a_lock)

        assert door.process is not None
        door.process.terminate()
        lock.rollback()
        reply = begun.result(20)
        ended = door.process.wait(20)

    assert reply.status == 200
    assert ended in (0, -15)
    assert len(inbox()) == 2


def _send_until_cut_off(send: Callable[[bytes], None], chunk: bytes) -> int:
    sent = 0
    try:
        while sent < 64 * 1024 * 1024:
            send(chunk)
            sent += len(chunk)
    except OSError:
        return sent
    raise AssertionError("it was never cut off")


def _seconds_until(claim: Callable[[], bool]) -> float:
    started = time.monotonic()
    wait_until(claim)
    return time.monotonic() - started
