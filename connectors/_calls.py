"""What every call to a gateway has in common: which answers mean yes, no, nothing was learnt, and nobody knows.

Reading and moving differ in one thing only. A read that fails taught us nothing and may be asked again
(`GatewayUnavailable`). A call that moves money and whose answer is lost may have moved it (`OutcomeUnknown`).
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

from connectors._base import (
    Account,
    GatewayUnavailable,
    Http,
    HttpReply,
    NoReply,
    NotFound,
    NotSent,
    OutcomeUnknown,
    PayoutUpdate,
    Rejected,
    UnreadableEvent,
)
from connectors._json import MAX_PROSE, Fields, document

REFUSALS: Final[frozenset[int]] = frozenset(
    {
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.UNPROCESSABLE_ENTITY,
    }
)
"""Statuses that positively say: not accepted, nothing will move. Every other one that is not 2xx leaves it open."""

LONGEST_SECONDS: Final = 9
"""Digits; a longer Retry-After is nonsense."""
MAX_RETRY_AFTER: Final = timedelta(days=1)
"""A gateway that asks for a longer pause has a clock problem."""


def credential(account: Account, name: str) -> str:
    """Return a credential. Raises `GatewayUnavailable`, before anything is sent, where there is none."""
    found = account.credentials.get(name, "").strip()
    if not found:
        raise GatewayUnavailable(f"credential {name} is not configured")
    return found


def is_accepted(reply: HttpReply) -> bool:
    """Say whether the status is 2xx."""
    return HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES


async def ask(http: Http, url: str, headers: Mapping[str, str]) -> HttpReply | NotFound:
    """Read. Returns a 2xx reply, or `NotFound` for 404. Raises `GatewayUnavailable`."""
    try:
        reply = await http.send("GET", url, headers=headers)
    except (NotSent, NoReply) as error:
        raise GatewayUnavailable(str(error)) from error
    if reply.status == HTTPStatus.NOT_FOUND:
        return NotFound()
    if not is_accepted(reply):
        raise _unavailable(reply)
    return reply


async def fetch_one(
    http: Http, url: str, headers: Mapping[str, str], read: Callable[[bytes], PayoutUpdate]
) -> PayoutUpdate | NotFound:
    """Read one payout. Raises `GatewayUnavailable`, also for an answer that cannot be read."""
    reply = await ask(http, url, headers)
    if isinstance(reply, NotFound):
        return reply
    with unreadable_means(GatewayUnavailable):
        return read(reply.body)


async def move(
    http: Http,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    refusals: frozenset[int] = REFUSALS,
) -> HttpReply:
    """Send a call that may move money, once. Returns a 2xx reply or a positive refusal.

    Raises `GatewayUnavailable` when nothing left or the gateway said "too many"; `OutcomeUnknown` for all else, and for
    the 429 of PayCore that means a twin of this payout is there already.
    """
    try:
        reply = await http.send(method, url, headers=headers, body=body)
    except NotSent as error:
        raise GatewayUnavailable(str(error)) from error
    except NoReply as error:
        raise OutcomeUnknown(str(error)) from error
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS and b"duplicate" not in reply.body.lower():
        raise _unavailable(reply)
    if is_accepted(reply) or reply.status in refusals:
        return reply
    raise OutcomeUnknown(f"answered {reply.status}")


async def prepare(http: Http, url: str, *, headers: Mapping[str, str], body: bytes) -> HttpReply:
    """POST what moves nothing yet, such as a login or a quote. Returns a 2xx reply or a positive refusal.

    Raises `GatewayUnavailable`: whatever became of it, no money is under way.
    """
    try:
        return await move(http, "POST", url, headers=headers, body=body)
    except OutcomeUnknown as error:
        raise GatewayUnavailable(str(error)) from error


def moved(reply: HttpReply, read: Callable[[bytes], PayoutUpdate]) -> PayoutUpdate:
    """Return what a 2xx reply to `move` says. Raises `OutcomeUnknown` where it cannot be read: something has moved."""
    with unreadable_means(OutcomeUnknown):
        return read(reply.body)


def rejected(reply: HttpReply, code: object, message: object) -> Rejected:
    """Return a refusal in the gateway's words, made a code: `Unprocessable Entity` is `unprocessable_entity`.

    Words that are no text are left out: the status alone has refused.
    """
    slug = re.sub(r"[^a-z0-9]+", "_", code.lower()).strip("_")[:64] if isinstance(code, str) else ""
    words = message.replace("\0", "")[:MAX_PROSE] if isinstance(message, str) else ""
    return Rejected(code=slug or f"http_{reply.status}", message=words or f"answered {reply.status}")


def refusal(reply: HttpReply) -> Mapping[str, Any]:
    """Return the fields of a refusal's body, none where it cannot be read."""
    try:
        return Fields.of(document(reply.body)).values
    except UnreadableEvent:
        return {}


@contextmanager
def unreadable_means(error: Callable[[str], Exception]) -> Iterator[None]:
    """Raise `error` where the gateway's answer is unreadable."""
    try:
        yield
    except UnreadableEvent as unreadable:
        raise error(f"unreadable answer: {unreadable}") from unreadable


def _unavailable(reply: HttpReply) -> GatewayUnavailable:
    return GatewayUnavailable(f"answered {reply.status}", retry_after=_retry_after(reply))


def _retry_after(reply: HttpReply) -> timedelta | None:
    """Return a numeric Retry-After; its other form, a date, is not worth a second clock."""
    text = reply.headers.get("retry-after", "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_SECONDS):
        return None
    return min(timedelta(seconds=int(text)), MAX_RETRY_AFTER)
