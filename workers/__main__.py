"""Run one worker process: `python -m workers`. More capacity is more processes, on as many machines as wanted.

Dramatiq's own launcher would add a master process whose death leaves its children running; here the process that is
started is the process that works.
"""

import gc
import resource
import signal
import threading
from typing import Final

import dramatiq

import workers.apply
import workers.deliver
import workers.poll
import workers.submit  # noqa: F401 (importing an actor's module registers the actor)
from settings import settings
from telemetry import logs
from workers.broker import broker
from workers.deliver import deliver_here
from workers.outside import outside

THREADS: Final = 2
"""Enough to keep PostgreSQL busy while one of them computes; nothing here waits for partners or gateways. Four were no
faster and kept the receiver from the cores: acknowledgements at p99 took half as long again."""
YOUNG: Final = 50_000
"""Objects between two looks for garbage cycles: batches make none; looking every 700 cost 4 % of the work."""
STOP_MS: Final = 8_000
MOST_OPEN_FILES: Final = 4_096
"""The courier's connections, in use and kept, are several hundred; the usual limit is 1,024."""


def main() -> None:
    """Work until SIGTERM; what has begun is finished, the rest goes back to the queue."""
    logs.configure("worker", settings().log_level)
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    _allow_open_files(MOST_OPEN_FILES)
    worker = dramatiq.Worker(broker, worker_threads=THREADS)
    gc.freeze()
    gc.set_threshold(YOUNG)
    deliver_here()
    worker.start()
    told_to_stop.wait()
    worker.stop(timeout=STOP_MS)
    if opened := outside.forget():
        opened.close()


def _allow_open_files(number: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    main()
