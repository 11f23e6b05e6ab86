"""POST /webhooks/{integration}: verify, store, answer. A bare ASGI callable, because this is the hot path.

Nothing is believed and nothing is stored before the signature is verified; 200 is sent only after the commit.
"""

import asyncio
from datetime import UTC, datetime
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from connectors._base import Connector, InvalidSignature, WebhookRequest
from receiver.directory import Directory, Listener
from receiver.inbox_writer import Arrival, InboxUnavailable, InboxWriter, IntegrationFloods
from receiver.problems import Problem
from receiver.reply import Reply
from telemetry import metrics

PREFIX: Final = "/webhooks/"
LARGEST_BODY: Final = 256 * 1024
LONGEST_LENGTH: Final = 7
"""Digits of a content-length worth reading."""
LONGEST_SLUG: Final = 64
MOST_HEADERS: Final = 200
BODY_TIMEOUT_SECONDS: Final = 10.0
"""For the whole body, so that a trickle of bytes cannot hold a connection for ever."""
REPEAT_SECONDS: Final = 60.0
"""How long a hint is a repetition of the same one; somebody who replays it makes us ask no more often than that."""

STORED: Final = Reply(b'{"status":"stored"}')

UNKNOWN: Final = Problem(404, "unknown_integration", "No such integration")
NOT_POST: Final = Problem(405, "method_not_allowed", "Webhooks are POSTed", allow="POST")
TOO_SLOW: Final = Problem(408, "body_too_slow", "The body did not arrive in time")
TOO_LARGE: Final = Problem(413, "body_too_large", "The body is larger than 256 KiB")
TOO_MANY_HEADERS: Final = Problem(431, "too_many_headers", "More than 200 header fields")
NO_SECRET: Final = Problem(
    403,
    "webhook_secret_missing",
    "This integration has no webhook secret",
    detail="Nothing can be verified, so nothing is accepted. An operator must add the gateway's webhook secret.",
)
FLOODED: Final = Problem(429, "too_many_requests", "Too many webhooks of this integration wait", retry_after=1)
NOT_STORED: Final = Problem(503, "not_stored", "The webhook could not be stored; send it again", retry_after=5)

_NOT_KEPT: Final = frozenset({b"authorization", b"cookie", b"proxy-authorization"})

_log = structlog.get_logger(__name__)


class _Refused(Exception):
    def __init__(self, problem: Problem, reason: str | None = None, slug: str = "unknown") -> None:
        self.problem = problem
        self.reason = reason or problem.code
        self.slug = slug


class GatewaysDoor:
    """The gateways' door as an ASGI app: webhooks are answered here and at once, everything else is for Starlette.

    Starlette's routing costs a webhook about as much as everything else that is done for it.
    """

    def __init__(self, directory: Directory, writer: InboxWriter, rest: ASGIApp) -> None:
        """All live as long as the process. `rest` gets what is no path below /webhooks/, and the lifespan."""
        self._directory = directory
        self._writer = writer
        self._rest = rest

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; any refusal is a problem document, and none is a 500."""
        if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
            await self._rest(scope, receive, send)
            return
        slug = scope["path"][len(PREFIX) :]
        try:
            listener = self._directory.known(slug) or await self._found(slug)
            _admit(scope, listener)
            message = await receive()
            body: bytes = message.get("body", b"")
            if len(body) > LARGEST_BODY or message.get("more_body") or message["type"] == "http.disconnect":
                body = await _whole_body(message, receive, listener)
            await self._writer.store(_verified(scope, body, listener))
        except (_Refused, InboxUnavailable) as error:
            await _refuse(send, error if isinstance(error, _Refused) else _not_stored(error, slug))
        else:
            await STORED.send(send)

    async def _found(self, slug: str) -> Listener:
        try:
            listener = await self._directory.find(slug) if 0 < len(slug) <= LONGEST_SLUG else None
        except Exception as error:  # noqa: BLE001 (whatever the database does, the answer is the same)
            # We cannot tell a stranger from a new gateway now, so we ask both to come again.
            _log.warning("directory.unavailable", error=type(error).__name__)
            raise _Refused(NOT_STORED) from None
        if listener is None:
            raise _Refused(UNKNOWN)
        return listener


async def _refuse(send: Send, refusal: _Refused) -> None:
    metrics.REFUSED.labels(refusal.slug, refusal.reason).inc()
    await refusal.problem.send(send)


def _not_stored(error: InboxUnavailable, slug: str) -> _Refused:
    return _Refused(FLOODED if isinstance(error, IntegrationFloods) else NOT_STORED, slug=slug)


def _admit(scope: Scope, listener: Listener) -> None:
    """Refuse what the head alone condemns."""
    if scope["method"] != "POST":
        raise _Refused(NOT_POST, slug=listener.slug)
    if not listener.can_verify:
        _log.warning("webhook.secret_missing", integration=listener.slug)
        raise _Refused(NO_SECRET, slug=listener.slug)
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    if len(headers) > MOST_HEADERS:
        raise _Refused(TOO_MANY_HEADERS, slug=listener.slug)
    for name, value in headers:
        if name == b"content-length" and (
            len(value) > LONGEST_LENGTH or not value.isdigit() or int(value) > LARGEST_BODY
        ):
            raise _Refused(TOO_LARGE, slug=listener.slug)


def _verified(scope: Scope, body: bytes, listener: Listener) -> Arrival:
    """Return a webhook that its gateway has signed, ready for the inbox."""
    now = datetime.now(UTC)
    request = WebhookRequest(scope["headers"], body, "POST", _original_path(scope))
    try:
        listener.connector.verify(request, listener.webhook_secrets, now)
    except InvalidSignature as refusal:
        _log.info("webhook.refused", integration=listener.slug, reason=refusal.reason)
        problem = Problem(401, "invalid_signature", "The signature is not valid", detail=refusal.reason)
        raise _Refused(problem, refusal.reason, listener.slug) from None
    key = _key(listener.connector, request, now)
    return Arrival(listener.id, key, body, _kept(scope["headers"]), now.timestamp())


def _key(connector: Connector, request: WebhookRequest, now: datetime) -> str:
    """Return the event key. Where a message that comes again may be news, the minute is part of it."""
    key = connector.event_key(request)
    return f"{key}@{int(now.timestamp() // REPEAT_SECONDS)}" if connector.REPEATS_ARE_NEWS else key


async def _whole_body(message: Message, receive: Receive, listener: Listener) -> bytes:
    """Return the body that begins with `message`: nearly every webhook comes in one piece and needs no clock."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            return await _rest_of_body(message, receive, listener)
    except TimeoutError:
        raise _Refused(TOO_SLOW, slug=listener.slug) from None


async def _rest_of_body(message: Message, receive: Receive, listener: Listener) -> bytes:
    body = bytearray()
    while True:
        if message["type"] == "http.disconnect":
            raise _Refused(TOO_SLOW, "disconnected", listener.slug)
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise _Refused(TOO_LARGE, slug=listener.slug)
        if not message.get("more_body"):
            return bytes(body)
        message = await receive()


def _original_path(scope: Scope) -> str:
    path: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def _kept(headers: list[tuple[bytes, bytes]]) -> bytes:
    return b"\n".join([b": ".join(header) for header in headers if header[0] not in _NOT_KEPT])
