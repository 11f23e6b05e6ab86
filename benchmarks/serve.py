"""Run what the real processes are compared with: `python -m benchmarks.serve WHAT [PORT]`.

- `bare PORT`: a Starlette endpoint that answers 200 and does nothing, in the receiver's own uvicorn set-up
- `storing PORT`, `sending PORT`: the naive receiver, without and with its task
- `tasks [QUEUE]`: the naive worker, for one queue or for both
- `queue NAME`: a real worker that takes from one queue only, to measure that queue alone
"""

import signal
import sys
import threading
from typing import Any, Final

import dramatiq
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.traffic import PATH
from receiver.protocol import BoundedProtocol
from telemetry import logs

STOP_MS: Final = 2_000


async def _answer(_: Request) -> Response:
    return Response(b'{"status":"stored"}', media_type="application/json")


def bare() -> Starlette:
    """Return the least a Starlette receiver can be."""
    return Starlette(routes=[Route(PATH, _answer, methods=["POST"])])


def _serve(app: Any, port: int) -> None:
    uvicorn.run(
        app,
        port=port,
        loop="uvloop",
        http=BoundedProtocol,
        ws="none",
        proxy_headers=False,
        access_log=False,
        server_header=False,
        log_config=None,
        backlog=2048,
    )


def _work(broker: dramatiq.Broker, threads: int, queues: set[str] | None = None) -> None:
    told_to_stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told_to_stop.set())
    worker = dramatiq.Worker(broker, worker_threads=threads, queues=queues)
    worker.start()
    told_to_stop.wait()
    worker.stop(timeout=STOP_MS)


def main(what: str, *more: str) -> None:
    """Run one of them until SIGTERM."""
    if what == "tasks":
        from benchmarks.naive import tasks

        _work(tasks.broker, tasks.THREADS, {*more} or None)
    elif what == "queue":
        import workers.__main__ as real
        from workers.broker import broker

        logs.configure("worker")
        _work(broker, real.THREADS, {*more})
    else:
        from benchmarks.naive import receiver

        apps = {"bare": bare, "storing": receiver.storing, "sending": receiver.sending}
        _serve(apps[what](), int(more[0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
