"""Deliver payout events to partners: claim, hand to the courier, record what came back, go on with the successors."""

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import dramatiq
import structlog
from sqlalchemy.exc import SQLAlchemyError

from models.database import transaction
from models.outbox import Carrier
from payouts.claiming import Due, look, release, successors, take
from payouts.deliveries import LEASE, Claimed, Finished
from payouts.notices import Told
from payouts.recording import record
from telemetry import metrics
from workers.broker import broker
from workers.courier import Courier
from workers.once import Once
from workers.writing import headers

QUEUE: Final = "deliver"
LARGEST_MESSAGE: Final = 500
LARGEST_LOOK: Final = 64
LARGEST_CLAIM: Final = 32
"""A claim holds locks and leases: with these, it and a look are over in some 3 ms (benchmarks/claims.py)."""
LARGEST_RECORD: Final = 500
RECORD_TRIES: Final = 8
ASK_WITHIN_SECONDS: Final = 0.1
"""Whose turn is next: while reports keep coming, it is asked about for several batches at once."""
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


def carrier(now: datetime) -> Carrier | None:
    """Return this process's courier for what is about to be written, None where it has none."""
    return Carrier(office().room, now + LEASE) if _at_hand.is_set() else None


def carry(carried: Sequence[Claimed], awaited: Mapping[str, Sequence[str]]) -> None:
    """Give the courier what was leased to it, and what it had no room for, once that is committed."""
    if carried:
        office().take(carried)
    if awaited:
        office().keep(awaited)


@dataclass(slots=True)
class _Batch:
    """What the courier has reported since the last commit."""

    finished: list[Finished] = field(default_factory=list)
    returned: list[Claimed] = field(default_factory=list)
    is_last: bool = False

    def add(self, report: "_Report") -> None:
        """Add one report."""
        if report is None:
            self.is_last = True
        elif isinstance(report, Returned):
            self.returned += report.claimed
        else:
            self.finished += report


@dataclass(frozen=True, slots=True)
class Returned:
    """Deliveries that were claimed and are not going to be attempted."""

    claimed: list[Claimed]


_Report = list[Finished] | Returned | None


class Office:
    """The courier and the thread that records what it reports. One per worker process."""

    def __init__(self) -> None:
        """Start both threads."""
        self._reports: queue.SimpleQueue[_Report] = queue.SimpleQueue()
        self._unasked: list[Finished] = []
        """Recorded, and not yet asked about what comes after them."""
        self._asked_at = 0.0
        self._courier = Courier(headers, self._reports.put, lambda claimed: self._reports.put(Returned(claimed)))
        self._recorder = threading.Thread(target=self._record_all, name="recorder", daemon=True)
        self._recorder.start()

    def post(self, ids: Sequence[str]) -> None:
        """Claim what is due, as far as there is room for it, and hand it to the courier."""
        for start in range(0, len(ids), LARGEST_LOOK):
            with transaction() as session:
                due = look(session, ids[start : start + LARGEST_LOOK], datetime.now(UTC))
            self._claim(due)

    def _claim(self, due: Sequence[Due]) -> None:
        for start in range(0, len(due), LARGEST_CLAIM):
            with transaction() as session:
                few = due[start : start + LARGEST_CLAIM]
                claims = take(session, few, datetime.now(UTC), self._courier.room)
            if claims.claimed:
                self._courier.take(claims.claimed)
            self._courier.remember(claims.waiting)

    def room(self, endpoint_id: str) -> int:
        """Return how many more deliveries of an endpoint can be carried in a moment."""
        return self._courier.room(endpoint_id)

    def take(self, claimed: Sequence[Claimed]) -> None:
        """Carry what is claimed already."""
        self._courier.take(claimed)

    def keep(self, awaited: Mapping[str, Sequence[str]]) -> None:
        """Claim these, by endpoint, as soon as there is room for them."""
        self._courier.remember(awaited)
        try:
            self._recall()  # now, if all that took the room has been recorded meanwhile: nobody else would
        except SQLAlchemyError as error:
            _log.warning("delivery.left_to_sweep", error=type(error).__name__)

    def close(self) -> None:
        """Let the attempts under way end and record them."""
        self._courier.stop(STOP_SECONDS)
        self._reports.put(None)
        self._recorder.join(STOP_SECONDS)

    def _record_all(self) -> None:
        """Record whatever has been reported since the last commit: the busier, the larger the batch."""
        while True:
            batch = _Batch()
            batch.add(self._reports.get())
            while not batch.is_last and len(batch.finished) < LARGEST_RECORD and not self._reports.empty():
                batch.add(self._reports.get())
            try:
                self._record(batch)
            except Exception:  # noqa: BLE001 (reported in full, and life goes on)
                # A dead recorder would leave every delivery to be attempted again and again.
                _log.exception("delivery.recorder_stumbled", attempts=len(batch.finished))
            if batch.is_last:
                return

    def _record(self, batch: _Batch) -> None:
        for attempt in range(RECORD_TRIES):
            try:
                told = _written(batch)
            except SQLAlchemyError as error:
                _log.warning("delivery.not_recorded", error=type(error).__name__, attempts=len(batch.finished))
                time.sleep(min(0.1 * 2**attempt, 5))
            else:
                _report(batch)
                self._unasked += batch.finished
                self._go_on(told)
                return

    def _go_on(self, told: Sequence[Told]) -> None:
        try:
            self.post([*self._heads(), *(each for notice in told for each in notice.deliveries)])
            self._recall()
        except SQLAlchemyError as error:
            _log.warning("delivery.successors_left_to_sweep", error=type(error).__name__)

    def _recall(self) -> None:
        """Claim what there was no room for. It could go when it was put away, and a claim looks for itself."""
        recalled = self._courier.recall().items()
        self._claim([Due(each, endpoint_id, stands_open=True) for endpoint_id, ids in recalled for each in ids])

    def _heads(self) -> list[str]:
        """Return what has become the head of its queue, if now is the time to ask."""
        is_soon = time.monotonic() < self._asked_at + ASK_WITHIN_SECONDS
        if not self._unasked or (is_soon and not self._reports.empty()):
            return []
        finished, self._unasked, self._asked_at = self._unasked, [], time.monotonic()
        with transaction() as session:
            return successors(session, finished, datetime.now(UTC))


def _written(batch: _Batch) -> list[Told]:
    told: list[Told] = []
    if batch.finished or batch.returned:
        with transaction() as session:
            now = datetime.now(UTC)
            if batch.returned:
                release(session, batch.returned, now)
            if batch.finished:
                told = record(session, batch.finished, now)
    return told


def _report(batch: _Batch) -> None:
    outcomes: dict[str, int] = {}
    for one in batch.finished:
        outcomes[one.outcome] = outcomes.get(one.outcome, 0) + 1
    for outcome, number in outcomes.items():
        metrics.DELIVERIES.labels(outcome).inc(number)
    if batch.returned:
        outcomes["returned"] = len(batch.returned)
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
