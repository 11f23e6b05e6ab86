"""One request from its first byte to its answer.

Everything that waits for the database runs in a thread of a bounded pool, because SQLAlchemy is used synchronously
here: when every thread is busy requests wait in line, and when the line is long they are refused, not piled up.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import anyio
import structlog
from anyio import CapacityLimiter, to_thread
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from models.api_key import digest_of, is_well_formed
from models.database import transaction
from payouts.create import Refused
from payouts.keys import Caller, touch
from payouts.remember import LONGEST_KEY, Asked, Given, TwinAtWork, fingerprint_of, recall, remember
from receiver.partners import bodies
from receiver.partners.limits import Allowance, OwnBuckets, SharedBuckets
from receiver.partners.operation import API_KEY, Call, Operation, shown_key
from receiver.partners.refusals import Refusal
from receiver.partners.shapes import read_json, read_query
from workers.broker import QueueAway
from workers.once import Once

THREADS: Final = 6
"""At once per process: fewer than the pool has connections, so that health checks always find one."""
OUTSIDE: Final = 4
"""At once per process: requests that wait for a gateway. They must not take the threads of those that do not."""
LONGEST_LINE: Final = 256
TWIN_SECONDS: Final = 2.0
"""How long a twin waits for the answer to be known."""
TWIN_LOOKS_SECONDS: Final = 0.05
TOUCH_SECONDS: Final = 60.0
REPLAYED: Final = "idempotent-replayed"

_THREADS: Final = CapacityLimiter(THREADS)
_OUTSIDE: Final = CapacityLimiter(OUTSIDE)
_OWN: Final = Once(OwnBuckets)
_SHARED: Final = Once(SharedBuckets)

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Incoming:
    """One request as it is carried into a thread."""

    operation: Operation
    request: Request = field(repr=False)
    request_id: str
    bucket: str
    body: bytes = field(default=b"", repr=False)
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer, refusals too: what is left of the quota."""
    caller: Caller | None = None


async def serve(operation: Operation, request: Request) -> Response:
    """Answer one request. Raises `Refusal`; `request.state.headers` belongs on its answer as well."""
    incoming = Incoming(operation, request, request.state.request_id, _bucket(operation, request))
    incoming.headers = request.state.headers
    if operation.security is API_KEY:
        _allow(incoming, _OWN().take(incoming.bucket))
    if _THREADS.statistics().tasks_waiting > LONGEST_LINE:
        raise Refusal("overloaded")
    if operation.body:
        incoming.body = await bodies.read_body(request)
    deadline = time.monotonic() + TWIN_SECONDS
    while True:
        try:
            given = await to_thread.run_sync(_answer, incoming, limiter=_THREADS)
        except TwinAtWork:
            if time.monotonic() > deadline:
                raise Refusal("idempotency_in_progress") from None
            await anyio.sleep(TWIN_LOOKS_SECONDS)
        else:
            if callable(given):
                given = await to_thread.run_sync(_answer_outside, given, incoming.operation, limiter=_OUTSIDE)
            return _response(incoming, given)


def _response(incoming: Incoming, given: Given) -> Response:
    caller = incoming.caller
    is_due = caller is not None and incoming.operation.security is API_KEY and _USES.is_due(caller.key_id)
    note = BackgroundTask(_note_use, caller.key_id) if caller and is_due else None
    return Response(given.body, given.status, {**given.headers, **incoming.headers}, background=note)


def _bucket(operation: Operation, request: Request) -> str:
    if operation.security is not API_KEY:
        return operation.security.name
    key = shown_key(request.headers)
    if not is_well_formed(key):
        raise Refusal("invalid_api_key", "the key is missing or malformed: Authorization: Bearer sk_live_…")
    return digest_of(key)[:12].hex()


def _allow(incoming: Incoming, allowance: Allowance) -> None:
    incoming.headers |= allowance.headers
    if allowance.wait_seconds:
        raise Refusal("too_many_requests", retry_after=allowance.wait_seconds)


def _answer_outside(ask: Callable[[], BaseModel], operation: Operation) -> Given:
    try:
        return _rendered(operation, {}, ask())
    except Refused as refused:
        raise Refusal(refused.code, str(refused)) from None


def _answer(incoming: Incoming) -> Given | Callable[[], BaseModel]:
    """Answer it in this thread, or return what is still to be asked of somebody else."""
    if incoming.operation.security is API_KEY and (shared := _SHARED().take(incoming.bucket)):
        _allow(incoming, shared)
    read = _read(incoming)
    now = datetime.now(UTC)
    asked: Asked | None = None
    try:
        prepared = _prepared(incoming, read, now)
        with transaction() as session:
            caller = incoming.caller = incoming.operation.security.identify(session, incoming.request.headers, now)
            _check_scope(incoming.operation, caller)
            arguments, canonical = read()
            asked = _asked(incoming, caller, canonical)
            if asked and (known := recall(session, asked)):
                return _again(known)
            call = Call(session, caller, now, incoming.request_id)
            given = _shown(incoming.operation, call, arguments | prepared)
            if asked:
                remember(session, asked, given, call.payout_id, now)
    except Refused as refused:
        refusal = Refusal(refused.code, str(refused))
    except Refusal as refused:
        refusal = refused
    except IntegrityError:
        if asked is None or not (known := _done_meanwhile(asked)):
            raise
        return known
    else:
        _follow(call)
        return call.outside or given
    return _told_no(asked, refusal, now)


def _prepared(incoming: Incoming, read: Callable[[], tuple[dict[str, Any], bytes]], now: datetime) -> dict[str, Any]:
    """Do what the operation wants to be done before its transaction opens, for somebody who may ask for it."""
    if incoming.operation.prepare is None:
        return {}
    with transaction() as session:
        caller = incoming.operation.security.identify(session, incoming.request.headers, now)
        _check_scope(incoming.operation, caller)
    return {"prepared": incoming.operation.prepare(**read()[0])}


def _told_no(asked: Asked | None, refusal: Refusal, now: datetime) -> Given:
    """Remember a rule's refusal like any answer: a late copy of a refused request must not move money after all."""
    if asked is None or refusal.is_passing:
        raise refusal
    problem = refusal.problem()
    headers = {name: value for name, value in problem.headers.items() if name != "content-length"}
    given = Given(problem.status, headers, problem.body)
    try:
        with transaction() as session:  # the rule's own was rolled back, whatever it had written
            if known := recall(session, asked):
                return _again(known)
            remember(session, asked, given, None, now)
    except Refused as refused:  # somebody has used the key for something else meanwhile
        raise Refusal(refused.code, str(refused)) from None
    return given


def _done_meanwhile(asked: Asked) -> Given | None:
    """Return what a twin has answered whom `recall` could not see yet, and over whose effect this one has stumbled."""
    try:
        with transaction() as session:
            known = recall(session, asked)
    except Refused as refused:
        raise Refusal(refused.code, str(refused)) from None
    return known and _again(known)


def _again(known: Given) -> Given:
    return Given(known.status, {**known.headers, REPLAYED: "true"}, known.body)


def _read(incoming: Incoming) -> Callable[[], tuple[dict[str, Any], bytes]]:
    """Read body, query and path before any transaction is open; complain only once it is known who asks."""
    try:
        read = _arguments(incoming)
    except Refusal as refusal:
        found = refusal

        def complain() -> tuple[dict[str, Any], bytes]:
            raise found

        return complain
    return lambda: read


def _arguments(incoming: Incoming) -> tuple[dict[str, Any], bytes]:
    operation, request = incoming.operation, incoming.request
    arguments: dict[str, Any] = {name: request.path_params[name] for name in operation.parameters}
    canonical = b""
    try:
        if operation.query:
            arguments["query"] = read_query(operation.query, request.query_params.multi_items())
        if operation.body:
            bodies.check_media_type(request)
            canonical = bodies.canonical(incoming.body)
            arguments["body"] = read_json(operation.body, canonical)
    except Refusal as refusal:
        if refusal.code == "invalid_request" != operation.invalid:
            raise Refusal(operation.invalid, refusal.detail, errors=refusal.errors) from None
        raise
    return arguments, canonical


def _check_scope(operation: Operation, caller: Caller) -> None:
    if operation.scope is not None and operation.scope not in caller.scopes:
        raise Refusal("missing_scope", f"this needs a key with the scope {operation.scope}")


def _asked(incoming: Incoming, caller: Caller, canonical: bytes) -> Asked | None:
    given = incoming.request.headers.getlist("idempotency-key")
    if not incoming.operation.is_idempotent or not given:
        return None
    key = given[0].strip().removeprefix('"').removesuffix('"')  # the IETF draft writes it as a quoted string
    if len(given) > 1 or not 0 < len(key) <= LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise Refusal("invalid_idempotency_key", f"send one, of 1 to {LONGEST_KEY} printable ASCII characters")
    path = incoming.request.url.path
    return Asked(caller, key, fingerprint_of(incoming.operation.method, path, canonical))


def _shown(operation: Operation, call: Call, arguments: dict[str, Any]) -> Given:
    return _rendered(operation, call.headers, operation.function(call, **arguments))


def _rendered(operation: Operation, headers: dict[str, str], answer: BaseModel | None) -> Given:
    if answer is None:
        return Given(operation.status, headers, b"")
    headers = {"content-type": "application/json", **headers}
    return Given(operation.status, headers, answer.model_dump_json().encode())


def _follow(call: Call) -> None:
    try:
        for enqueue in call.after_commit:
            enqueue()
    except QueueAway as error:
        _log.warning("api.left_to_sweep", error=type(error).__name__)


class _Uses:
    """When this process last noted the use of each key."""

    def __init__(self) -> None:
        self._noted: dict[str, float] = {}

    def is_due(self, key_id: str) -> bool:
        now = time.monotonic()
        if now - self._noted.get(key_id, float("-inf")) < TOUCH_SECONDS:
            return False
        self._noted[key_id] = now
        return True


_USES: Final = _Uses()


def _note_use(key_id: str) -> None:
    with suppress(Exception), transaction() as session:  # nobody waits for it, and a minute later comes the next
        touch(session, key_id, datetime.now(UTC))
