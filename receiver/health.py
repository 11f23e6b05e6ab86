"""/healthz, /readyz and /metrics: the same at every door."""

import asyncio
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest, multiprocess
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from models import schema
from receiver.seldom import Seldom
from workers.broker import broker

CHECK_TIMEOUT_SECONDS: Final = 3.0
CHECKED_SECONDS: Final = 1.0
"""How long what a check found holds."""
LAGS_SECONDS: Final = 5.0
"""How long figures of the database hold: shorter than anybody scrapes, too long to make work for the database with."""


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
        raise RuntimeError(f"at {present}, needs {wanted}: {schema.how_to_meet()}")


_CHECKS: Final = {"database": _database_answers, "queue": _queue_answers, "migrations": _schema_is_current}


async def _outcome(check: Seldom[None]) -> str:
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await check.get()
    except RuntimeError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 (whatever it is, the answer is that it does not work)
        return type(error).__name__
    return "ok"


class Health:
    """The health of one door. Strangers may ask, so each check and each kind of figure has one thread and no more."""

    def __init__(self) -> None:
        self._checks = {name: Seldom(check, CHECKED_SECONDS) for name, check in _CHECKS.items()}
        self._counters = Seldom(_counters, 0)
        self._lags = Seldom(_lags, LAGS_SECONDS)
        self.routes: Final = [
            Route("/healthz", healthz),
            Route("/readyz", self.readyz),
            Route("/metrics", self.metrics),
        ]

    async def readyz(self, _: Request) -> Response:
        """Check what this process stands on: 200 when all of it answers, 503 with what does not."""
        outcomes = await asyncio.gather(*map(_outcome, self._checks.values()))
        checks = dict(zip(self._checks, outcomes, strict=True))
        ready = all(outcome == "ok" for outcome in outcomes)
        return JSONResponse({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Answer in Prometheus' text format: this host's counters as they stand, and lags read a moment ago."""
        text = await self._counters.get()
        try:
            text += await self._lags.get()
        except Exception as error:  # noqa: BLE001 (the counters are worth having while the database is away)
            text += f"# lags are unknown: {type(error).__name__}\n".encode()
        return Response(text, media_type=CONTENT_TYPE_LATEST)


def _counters() -> bytes:
    """Return this host's counters, or this process's alone where PROMETHEUS_MULTIPROC_DIR is not set."""
    registry = CollectorRegistry()
    try:
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    except ValueError:
        registry = REGISTRY
    return generate_latest(registry)


def _lags() -> bytes:
    from payouts.lags import read_lags

    registry = CollectorRegistry()
    read_lags(registry)
    return generate_latest(registry)
