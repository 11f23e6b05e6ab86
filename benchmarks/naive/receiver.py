"""A Starlette endpoint with one ORM commit per webhook."""

from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from benchmarks.naive.event import NaiveEvent
from connectors import connector_class
from connectors._base import Account, Connector, InvalidSignature, WebhookRequest
from models.database import transaction
from models.integration import Integration


class Receiver:
    """Verifies, stores, and in the whole story sends one task."""

    def __init__(self, *, sends: bool) -> None:
        """`sends=False` stores only."""
        self._sends = sends
        self._known: dict[str, tuple[int, Connector, tuple[str, ...]]] = {}

    async def webhook(self, request: Request) -> Response:
        """Answer one webhook."""
        slug = request.path_params["slug"]
        if slug not in self._known:
            await run_in_threadpool(self._load, slug)
        integration_id, connector, secrets = self._known[slug]
        body = await request.body()
        webhook = WebhookRequest(request.headers.raw, body)
        try:
            connector.verify(webhook, secrets, datetime.now(UTC))
        except InvalidSignature:
            return JSONResponse({"error": "invalid signature"}, 401)
        await run_in_threadpool(self._store, integration_id, connector.event_key(webhook), body)
        return JSONResponse({"status": "stored"})

    def _load(self, slug: str) -> None:
        with transaction() as session:
            row = session.exec(select(Integration).where(col(Integration.slug) == slug)).one()
        secrets = row.secrets()
        connector = connector_class(row.connector)(Account(secrets.credentials))
        self._known[slug] = row.id or 0, connector, secrets.webhook_secrets

    def _store(self, integration_id: int, event_key: str, body: bytes) -> None:
        event = NaiveEvent(
            integration_id=integration_id,
            event_key=event_key,
            body=body,
            body_digest=sha256(body).digest()[:16],
            received_at=datetime.now(UTC),
        )
        try:
            with transaction() as session:
                session.add(event)
        except IntegrityError:
            return  # known already
        if self._sends:
            from benchmarks.naive.tasks import apply_event

            apply_event.send(event.id or 0)


def storing() -> Starlette:
    """Return the app that stores only."""
    return Starlette(routes=[Route("/webhooks/{slug}", Receiver(sends=False).webhook, methods=["POST"])])


def sending() -> Starlette:
    """Return the app that stores and sends a task."""
    return Starlette(routes=[Route("/webhooks/{slug}", Receiver(sends=True).webhook, methods=["POST"])])
