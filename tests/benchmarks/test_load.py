"""The measuring instruments themselves: what they send arrives, and what they count is what happened."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import orjson

from benchmarks.load import Load
from benchmarks.plan import Outcome, Plan, percentile, read_requests, write_requests
from benchmarks.sink import Ledger, Sink
from benchmarks.traffic import SECRET, Webhook, webhooks
from connectors import connector_class
from connectors._base import Account
from models.lifecycle import PayoutStatus

REQUESTS = [b"POST / HTTP/1.1\r\nwebhook-id: evt_%d\r\ncontent-length: 2\r\n\r\n{}" % number for number in range(200)]


def a_plan(**changes: object) -> Callable[[int], Plan]:
    return lambda port: Plan(**{"port": port, "requests": "", "answer": "", "seconds": 5.0, "connections": 4} | changes)  # type: ignore[arg-type]


def run(plan: Callable[[int], Plan], requests: list[bytes]) -> tuple[Outcome, Ledger]:
    ledger, over = Ledger(), threading.Event()

    def serve(sink: Sink) -> None:
        while not over.is_set():
            sink.serve(0.05)
        sink.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = threading.Thread(target=serve, args=[Sink(listener.dup(), ledger)])
        server.start()
        try:
            return Load(plan(port), requests).run(), ledger
        finally:
            over.set()
            server.join()


def test_a_closed_loop_sends_each_request_once() -> None:
    outcome, ledger = run(a_plan(), REQUESTS)

    assert (outcome.sent, outcome.accepted, outcome.refused, outcome.lost) == (200, 200, 0, 0)
    assert (ledger.requests, len(ledger.first_times)) == (200, 200)


def test_an_open_loop_keeps_its_rate_and_the_times() -> None:
    outcome, ledger = run(a_plan(seconds=0.5, rate=100.0, keep_times=True), REQUESTS)

    assert outcome.accepted == ledger.requests == len(outcome.sent_at) == 50
    assert 0.48 < outcome.sent_at[-1] - outcome.started_at < 0.5


def test_a_request_that_is_hung_up_on_is_lost() -> None:
    def hang_up(listener: socket.socket) -> None:
        for _ in range(4):
            peer = listener.accept()[0]
            peer.recv(1)
            peer.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=hang_up, args=[listener])
        server.start()
        outcome = Load(a_plan()(listener.getsockname()[1]), REQUESTS).run()
        server.join()

    assert (outcome.sent, outcome.accepted, outcome.refused, outcome.lost) == (4, 0, 0, 4)


def test_a_repeated_delivery_is_counted_once_as_an_event() -> None:
    _, ledger = run(a_plan(), REQUESTS[:1] * 3)

    assert orjson.loads(ledger.answer(b"/received"))["requests"] == 3
    assert orjson.loads(ledger.answer(b"/received"))["distinct"] == 1


def test_requests_survive_their_file(tmp_path: Path) -> None:
    write_requests(tmp_path / "requests", REQUESTS)

    assert read_requests(tmp_path / "requests") == REQUESTS


def test_every_webhook_says_the_next_step_of_its_payout() -> None:
    connector = connector_class("paycore")(Account())

    said = [connector.parse(webhook.body())[0].status for webhook in webhooks(1)]

    assert said == [PayoutStatus.INITIATED, PayoutStatus.BROADCAST, PayoutStatus.DELIVERED]
    assert len({webhook.request() for webhook in webhooks(10)}) == 30
    assert SECRET.encode() not in Webhook(0, 0).request()


def test_a_percentile_is_a_value_that_was_measured() -> None:
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([], 0.99) == 0
