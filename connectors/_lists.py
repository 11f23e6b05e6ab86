"""Walking a gateway's list: page by page to its end, or far enough back to have seen every recent change."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from connectors._base import GatewayUnavailable, Http, HttpReply, NotFound, PayoutUpdate, UnreadableEvent
from connectors._calls import ask, unreadable_means
from connectors._json import Fields

MAX_PAGES: Final = 1_000


async def ask_list(http: Http, url: str, headers: Mapping[str, str]) -> HttpReply:
    """Read a list. A list that is not there says nothing about any payout: that is `GatewayUnavailable` too."""
    reply = await ask(http, url, headers)
    if isinstance(reply, NotFound):
        raise GatewayUnavailable("the list answered 404")
    return reply


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a gateway's list."""

    items: list[Fields]
    next: str | None
    """What to ask for next, None at the end."""


async def walk(read_page: Callable[[str], Awaitable[Page]], start: str) -> AsyncGenerator[Fields]:
    """Yield every item of a list, page by page.

    Raises `GatewayUnavailable` when an answer is unreadable, when the list does not advance, or after `MAX_PAGES`:
    a list that was not read to its end must never be taken for one that a payout is missing from.
    """
    cursor, first = start, None
    for _ in range(MAX_PAGES):
        with unreadable_means(GatewayUnavailable):
            page = await read_page(cursor)
        if page.items and page.items[0] == first:
            raise GatewayUnavailable("the list does not advance")
        for item in page.items:
            yield item
        if page.next is None:
            return
        cursor, first = page.next, page.items[0] if page.items else None
    raise GatewayUnavailable(f"the list is longer than {MAX_PAGES} pages")


@dataclass(frozen=True, slots=True)
class Lookback:
    """How far to walk a list that is sorted by creation when looking for what *changed* since a time."""

    since: datetime
    days: float | None
    """How long before `since` a payout that changed after it may have been created; None walks the whole list."""
    created: Callable[[Fields], datetime | None]
    """Reads an item's time of creation."""

    def is_beyond(self, item: Fields) -> bool:
        """Say whether this item, and so every later one, is too old to have changed."""
        with unreadable_means(GatewayUnavailable):
            created = self.created(item)
        return self.days is not None and created is not None and created < self.since - timedelta(days=self.days)

    def holds(self, update: PayoutUpdate) -> bool:
        """Say whether this changed since; what has no time might have."""
        return update.occurred_at is None or update.occurred_at >= self.since.astimezone(UTC)


async def find(
    items: AsyncGenerator[Fields], is_ours: Callable[[Fields], bool], read: Callable[[Fields], PayoutUpdate]
) -> PayoutUpdate | NotFound:
    """Return the payout that is ours, `NotFound` only after the last item. Raises `GatewayUnavailable`."""
    async with aclosing(items):
        async for item in items:
            with unreadable_means(GatewayUnavailable):
                if is_ours(item):
                    return read(item)
    return NotFound()


async def changed(
    items: AsyncGenerator[Fields], lookback: Lookback, read: Callable[[Fields], PayoutUpdate]
) -> AsyncGenerator[PayoutUpdate]:
    """Yield what changed since.

    An item that cannot be read becomes a hint (no status): it must neither hide nor hold up the others.
    """
    async with aclosing(items):
        async for item in items:
            if lookback.is_beyond(item):
                return
            update = _read_or_hint(item, read)
            if update is not None and lookback.holds(update):
                yield update


def _read_or_hint(item: Fields, read: Callable[[Fields], PayoutUpdate]) -> PayoutUpdate | None:
    try:
        return read(item)
    except UnreadableEvent:
        pass
    try:
        return PayoutUpdate(reference=item.reference("id"), status=None, said="unreadable")
    except UnreadableEvent:
        return None
