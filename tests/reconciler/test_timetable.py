"""The timetable: late runs are not dropped, long ones do not overlap, failing ones come again."""

import importlib
import threading

import pytest
from structlog.testing import capture_logs

from tests.concurrency import wait_until

timetable = importlib.import_module("reconciler.__main__")


def test_every_job_is_late_rather_than_dropped_and_never_runs_twice_at_once() -> None:
    scheduler = timetable._timetable()
    scheduler.start(paused=True)
    jobs = scheduler.get_jobs()
    scheduler.shutdown()

    assert {job.id for job in jobs} == {job.__name__ for job, _ in timetable.TIMETABLE}
    assert {(job.misfire_grace_time, job.coalesce, job.max_instances) for job in jobs} == {(None, True, 1)}


def test_the_jobs_run_as_often_as_the_table_says() -> None:
    scheduler = timetable._timetable()
    scheduler.start(paused=True)
    intervals = {job.id: job.trigger.interval.total_seconds() for job in scheduler.get_jobs()}
    scheduler.shutdown()

    assert intervals == {job.__name__: seconds for job, seconds in timetable.TIMETABLE}
    assert max(intervals.values()) <= 3600


def test_a_job_that_raises_is_logged_and_runs_again(monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[int] = []

    def raising() -> None:
        runs.append(1)
        raise ConnectionError

    monkeypatch.setattr(timetable, "TIMETABLE", [(raising, 0.02)])
    scheduler = timetable._timetable()
    with capture_logs() as lines:
        scheduler.start()
        wait_until(lambda: len(runs) >= 3)
        scheduler.shutdown()

    assert {(line["event"], line["job"], line["error"]) for line in lines} == {
        ("job.failed", "raising", "ConnectionError")
    }


def test_a_job_that_takes_long_holds_up_no_other_and_does_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end, inside = threading.Event(), []
    quick: list[int] = []

    def slow() -> None:
        inside.append(1)
        may_end.wait(20)

    monkeypatch.setattr(timetable, "TIMETABLE", [(slow, 0.02), (lambda: quick.append(1), 0.02)])
    scheduler = timetable._timetable()
    with capture_logs():
        scheduler.start()
        wait_until(lambda: len(quick) >= 10)
        overlapping = len(inside)
        may_end.set()
        wait_until(lambda: len(inside) >= 2)
        scheduler.shutdown()

    assert overlapping == 1
