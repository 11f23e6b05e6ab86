"""The timetable: every periodic job on one screen, run by one leader.

`python -m reconciler`; start as many as you like.
"""

import signal
import threading
from collections.abc import Callable
from typing import Final

import structlog
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler

from reconciler import books, forget, poll, prune, recover, seal, sweep, transfer
from reconciler.leader import Leadership
from settings import settings
from telemetry import logs

TIMETABLE: Final[list[tuple[Callable[[], None], float]]] = [
    # job, every so many seconds
    (poll.poll_due, poll.EVERY_SECONDS),
    (sweep.sweep_inbox, 1.0),
    (sweep.sweep_outbox, 1.0),
    (sweep.match_unmatched, 5.0),
    (sweep.sweep_letters, 10.0),
    (recover.work_off_recoveries, recover.EVERY_SECONDS),
    (forget.forget_answers, 60.0),
    (prune.prune, prune.EVERY_SECONDS),
    (forget.forget_quotes, 600.0),
    (seal.seal_audit, seal.EVERY_SECONDS),
    (books.prove_books, books.EVERY_SECONDS),
    (transfer.transfer_balances, 60.0),
]

CONTEST_SECONDS: Final = 0.5
"""How often a stand-by tries for the lock, and the leader makes sure that it still has it."""

_log = structlog.get_logger(__name__)


def _timetable() -> BackgroundScheduler:
    scheduler = BackgroundScheduler(
        timezone="UTC",
        executors={"default": ThreadPoolExecutor(len(TIMETABLE))},
        # Without these a job that starts a second late is dropped, and one that takes long is run twice at once.
        job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
    )
    for job, seconds in TIMETABLE:
        scheduler.add_job(_surviving(job), "interval", seconds=seconds, id=job.__name__)
    return scheduler


def _surviving(job: Callable[[], None]) -> Callable[[], None]:
    """Log what a job raises: its next run finds the same work, and the database or the queue may be back."""

    def run() -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001
            _log.warning("job.failed", job=job.__name__, error=type(error).__name__)

    return run


def main() -> None:
    """Stand by, lead when the lock is free, stop leading the moment it is lost."""
    logs.configure("reconciler", settings().log_level)
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    leadership = Leadership(settings().database_url)
    scheduler: BackgroundScheduler | None = None
    while not told_to_stop.wait(CONTEST_SECONDS):
        leads = leadership.held()
        if leads and scheduler is None:
            _log.info("leader.elected")
            scheduler = _timetable()
            scheduler.start()
        elif not leads and scheduler is not None:
            _log.warning("leader.deposed")
            scheduler.shutdown(wait=False)
            scheduler = None
    if scheduler:
        scheduler.shutdown(wait=True)
    leadership.resign()


if __name__ == "__main__":
    main()
