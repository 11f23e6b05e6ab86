"""What can go wrong on a stage, each as one function, and what must hold afterwards."""

import contextlib
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator

from redis import Redis
from sqlalchemy import text

from cli.stage import Stage, Verdict
from models.database import transaction
from payouts.create import Refused

Trouble = Callable[[Stage], None]


def kill(name: str) -> Trouble:
    """SIGKILL a process in the middle of its work; a supervisor starts it again a moment later."""

    def trouble(stage: Stage) -> None:
        process = stage.crew.running[name]
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        stage.crew.start_one(name.rsplit("-", 1)[0] if name[-1].isdigit() else name, instance=name)

    return trouble


def flush_redis(stage: Stage) -> None:
    """Every queued message is gone."""
    Redis.from_url(stage.house.environment["REDIS_URL"]).flushall()


def crash_redis(stage: Stage) -> None:
    """SIGKILL Redis, forget its whole folder as well, start it a moment later."""
    redis = stage.house.redis
    assert redis
    redis.stop(signal.SIGKILL)
    shutil.rmtree(redis.folder)  # from version 7 a manifest names the files, and it starts with none of them missing
    time.sleep(0.5)  # an outage has a length
    redis.start()


def restart_postgres(stage: Stage) -> None:
    """Stop PostgreSQL as an administrator does, start it a moment later."""
    _bounce_postgres(stage, signal.SIGINT)


def crash_postgres(stage: Stage) -> None:
    """PostgreSQL quits at once and recovers from its log."""
    _bounce_postgres(stage, signal.SIGQUIT)


def _bounce_postgres(stage: Stage, how: signal.Signals) -> None:
    postgres = stage.house.postgres
    assert postgres
    postgres.stop(how)
    time.sleep(0.5)  # an outage has a length
    postgres.start()


@contextlib.contextmanager
def payouts_keep_coming(stage: Stage, number: int, every_seconds: float) -> Iterator[None]:
    """Create payouts from another thread while the block makes trouble; all of them are there when it ends."""
    failures: list[BaseException] = []

    def create() -> None:
        with contextlib.ExitStack():
            for _ in range(number):
                _create_one(stage, failures)
                time.sleep(every_seconds)

    thread = threading.Thread(target=create, daemon=True)
    thread.start()
    yield
    thread.join(number * every_seconds + 60)
    assert not thread.is_alive()
    assert not failures


def _create_one(stage: Stage, failures: list[BaseException]) -> None:
    """Like a caller who insists: while PostgreSQL is away, the same payout is asked for again."""
    deadline = time.monotonic() + 30
    while True:
        try:
            stage.create_payouts(1)
        except Refused as refused:
            if refused.code != "payout_exists":
                failures.append(refused)
            else:  # the commit that seemed to fail had happened
                stage.skip_payout()
            return
        except Exception as error:  # noqa: BLE001 (whatever is away, a caller who insists asks again)
            if time.monotonic() > deadline:
                failures.append(error)
                return
            time.sleep(0.1)
        else:
            return


def broken_promises(stage: Stage, verdict: Verdict) -> list[str]:
    """Return what does not hold, in words; empty when everything does."""
    with transaction() as session:
        run = session.connection().execute
        twice = run(
            text(
                "SELECT count(*) FROM (SELECT FROM observation WHERE inbox_event_id IS NOT NULL"
                " GROUP BY inbox_event_id, payout_id HAVING count(*) > 1) twice"
            )
        ).scalar_one()
        gaps = run(
            text(
                "SELECT count(*) FROM (SELECT FROM payout_event GROUP BY payout_id"
                " HAVING max(sequence) <> count(*) OR min(sequence) <> 1) gaps"
            )
        ).scalar_one()
    kept = sum(verdict.inbox.values())
    claims = {
        "every payout agrees with its gateway": not verdict.disagreements,
        "every acknowledged webhook is kept": kept >= verdict.stats["webhooks"]["delivered"],
        "every kept event is applied": kept == verdict.inbox.get("applied", 0),
        "applied once": twice == 0,
        "payout events have no gaps": gaps == 0,
        "no forged webhook was accepted": verdict.stats["webhooks"]["forged_accepted"] == 0,
        "nothing was submitted twice": verdict.submitted_twice == 0,
        "the partner got every event": verdict.score["events"] == verdict.events,
        "in order per payout": verdict.score["out_of_order"] == 0,
        "every signature was valid": verdict.score["bad_signatures"] == 0,
        "the partner ends with our statuses": verdict.partner_disagreements == 0,
        "its receiver took each event once": set(verdict.kept.values()) <= {"taken"}
            and len(verdict.kept) == verdict.events,
        "and made no mistake": verdict.score["disagreed"] == 0,
    }  # fmt: skip
    broken = [claim for claim, holds in claims.items() if not holds]
    return broken and [*broken, *verdict.disagreements[:10]]
