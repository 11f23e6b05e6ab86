"""Deliver payout events to partners: claim, hand to the courier, record what came back, go on with the successors."""

import queue
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import dramatiq
import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.database import transaction
from payouts.deliveries import Finished, claim, record, successors
from telemetry import metrics
from workers.broker import broker
from workers.courier import Courier
from workers.once import Once
from workers.writing import headers

QUEUE: Final = "deliver"
LARGEST_MESSAGE: Final = 500
LARGEST_RECORD: Final = 500
RECORD_TRIES: Final = 8
STOP_SECONDS: Final = 8.0

_log = structlog.get_logger(__name__)


@dramatiq.actor(broker=broker, queue_name=QUEUE)
def deliver(ids: list[str]) -> None:
    """Attempt the deliveries with these ids that are due heads. Returns before the partners have answered."""
    office().post(ids)


def send_deliver(ids: Sequence[str]) -> None:
    """Have deliveries attempted. Raises one of `QueueAway` while Redis is away.

    In a worker the courier is at hand, and a message to ourselves would only cost a turn through Redis.
    """
    if _at_hand.is_set():
        try:
            office().post(ids)
        except SQLAlchemyError as error:
            _log.warning("delivery.left_to_sweep", error=type(error).__name__, deliveries=len(ids))
        return
    for start in range(0, len(ids), LARGEST_MESSAGE):
        deliver.send(list(ids[start : start + LARGEST_MESSAGE]))


_at_hand: Final = threading.Event()


def deliver_here() -> None:
    """Say that this process is a worker: what it owes to partners, its own courier carries."""
    _at_hand.set()


class Office:
    """The courier and the thread that records what it reports. One per worker process."""

    def __init__(self) -> None:
        """Start both threads."""
        self._finished: queue.SimpleQueue[list[Finished] | None] = queue.SimpleQueue()
        self._courier = Courier(headers, self._finished.put)
        self._recorder = threading.Thread(target=self._record_all, name="recorder", daemon=True)
        self._recorder.start()

    def post(self, ids: Sequence[str]) -> None:
        """Claim what is due and hand it to the courier."""
        if ids:
            with transaction() as session:
                claimed = claim(session, ids, datetime.now(UTC))
            self._courier.take(claimed)

    def close(self) -> None:
        """Let the attempts under way end and record them."""
        self._courier.stop(STOP_SECONDS)
        self._finished.put(None)
        self._recorder.join(STOP_SECONDS)

    def _record_all(self) -> None:
        """Record whatever has finished since the last commit: the busier, the larger the batch."""
        while (finished := self._finished.get()) is not None:
            batch = list(finished)
            stop = False
            while len(batch) < LARGEST_RECORD and not self._finished.empty():
                more = self._finished.get()
                stop = stop or more is None
                batch += more or []
            try:
                self._record(batch)
            except Exception:  # noqa: BLE001 (reported in full, and life goes on)
                # A dead recorder would leave every delivery to be attempted again and again.
                _log.exception("delivery.recorder_stumbled", attempts=len(batch))
            if stop:
                return

    def _record(self, batch: list[Finished]) -> None:
        for attempt in range(RECORD_TRIES):
            try:
                with transaction() as session:
                    record(session, batch, datetime.now(UTC))
            except SQLAlchemyError as error:
                _log.warning("delivery.not_recorded", error=type(error).__name__, attempts=len(batch))
                time.sleep(min(0.1 * 2**attempt, 5))
            else:
                _report(batch)
                self._go_on(batch)
                return

    def _go_on(self, batch: Sequence[Finished]) -> None:
        try:
            with transaction() as session:
                heads = successors(session, batch, datetime.now(UTC))
            self.post(heads)
        except SQLAlchemyError as error:
            _log.warning("delivery.successors_left_to_sweep", error=type(error).__name__)


def _report(batch: Sequence[Finished]) -> None:
    outcomes: dict[str, int] = {}
    for one in batch:
        outcomes[one.outcome] = outcomes.get(one.outcome, 0) + 1
    for outcome, number in outcomes.items():
        metrics.DELIVERIES.labels(outcome).inc(number)
    _log.info("delivery.attempted", **outcomes)


office: Final = Once(Office)
"""Return this process's office, opened when the first delivery is."""


class ClosesOffice(dramatiq.Middleware):
    """Lets a worker that is told to stop finish what it has begun."""

    def after_worker_shutdown(self, broker: Any, worker: Any) -> None:
        """Close the office if it was opened."""
        del broker, worker
        if opened := office.forget():
            opened.close()


broker.add_middleware(ClosesOffice())
