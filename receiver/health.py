"""/healthz, /readyz and /metrics: the same at every door."""

import asyncio
from collections.abc import Callable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models import schema
from workers.broker import broker

CHECK_TIMEOUT_SECONDS: Final = 3.0


async def healthz(_: Request) -> Response:
    """Say that the process answers; nothing more."""
    return JSONResponse({"status": "ok"})


def _database_answers() -> None:
    schema.present()


def _queue_answers() -> None:
    broker.client.ping()


def _schema_is_current() -> None:
    present, wanted = schema.present(), schema.wanted()
    if present != wanted:
        raise RuntimeError(f"at {present}, needs {wanted}: run `ratchet migrate`")


_CHECKS: Final = {"database": _database_answers, "queue": _queue_answers, "migrations": _schema_is_current}


async def readyz(_: Request) -> Response:
    """Check what this process stands on: 200 when all of it answers, 503 with what does not."""
    names, answers = list(_CHECKS), [_outcome(check) for check in _CHECKS.values()]
    checks = dict(zip(names, await asyncio.gather(*answers), strict=True))
    ready = all(outcome == "ok" for outcome in checks.values())
    return JSONResponse({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)


async def _outcome(check: Callable[[], None]) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await asyncio.to_thread(check)
    except RuntimeError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, the answer is that it does not work)
        return type(error).__name__
    return "ok"


async def metrics(_: Request) -> Response:
    """Answer in Prometheus' text format: this host's counters, and lags read from the database just now."""
    text = generate_latest(_counters())
    try:
        text += await asyncio.to_thread(_lags)
    except Exception as error:  # noqa: BLE001 (the counters are worth having while the database is away)
        text += f"# lags are unknown: {type(error).__name__}\n".encode()
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _counters() -> CollectorRegistry:
    """Return this host's counters, or this process's alone where PROMETHEUS_MULTIPROC_DIR is not set."""
    registry = CollectorRegistry()
    try:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:
        return REGISTRY
    return registry


def _lags() -> bytes:
    from payouts.lags import read_lags

    registry = CollectorRegistry()
    read_lags(registry)
    return generate_latest(registry)


ROUTES: Final = [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
