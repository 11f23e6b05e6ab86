"""What else needs a person: messages set aside, deliveries given up, integrations that cannot hear or may not ask."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import text
from sqlmodel import Session, select

from models.balance import BooksCheck
from models.inbox import InboxState
from models.switch import Switch
from payouts.silence import Silence, read_silences
from payouts.switches import holding

UNMATCHED_AFTER: Final = timedelta(minutes=15)
"""A webhook may outrun the reply to our own submission; not by this much."""

FOR_PEOPLE: Final = (InboxState.UNMATCHED, InboxState.UNREADABLE, InboxState.CONFLICT, InboxState.POISON)


MOST_ENDPOINTS: Final = 50


@dataclass(frozen=True, slots=True)
class Ailing:
    """An endpoint that we have switched off, or whose deliveries are paused because it fails."""

    id: str
    organisation: str
    host: str
    breaker: str
    disabled_reason: str | None
    failing_since: datetime | None


@dataclass(frozen=True, slots=True)
class Books:
    """What the last proof of the ledger has found."""

    proven_at: datetime | None
    """None before the first one."""
    violations: tuple[str, ...]
    """In words, the first ones."""
    number: int
    """Of all of them. Anything but zero is an alarm."""
    waiting: tuple[str, ...]
    """Payouts that are over, whose money waits for a person's word."""


@dataclass(frozen=True, slots=True)
class Attention:
    """What an operator should see above everything else."""

    inbox: dict[InboxState, int]
    """Inbox events by state, every state that waits for a person; unmatched ones once they are old."""
    dead_deliveries: int
    without_secret: tuple[str, ...]
    """Slugs of active integrations whose webhooks are all refused with 403."""
    paused: tuple[tuple[str, datetime], ...]
    """Slugs of integrations whose gateway asked us to slow down, and until when nothing is polled."""
    books: Books
    endpoints: tuple[Ailing, ...]
    """Partners' endpoints that hear nothing, those switched off by us first; so many at most."""
    switches: tuple[Switch, ...]
    """Kill switches that hold."""

    @property
    def inbox_events(self) -> int:
        """How many inbox events wait for a person."""
        return sum(self.inbox.values())


def without_secret(silences: Iterable[Silence]) -> tuple[str, ...]:
    """Return the slugs of those that are active and cannot verify a webhook."""
    return tuple(silence.slug for silence in silences if silence.is_active and silence.lacks_secret)


def read_attention(session: Session, now: datetime) -> Attention:
    """Count what else needs a person."""
    connection = session.connection()
    inbox = {InboxState(state): number for state, number in connection.execute(_INBOX, {"old": now - UNMATCHED_AFTER})}
    return Attention(
        {state: inbox.get(state, 0) for state in FOR_PEOPLE},
        connection.execute(_DEAD).scalar_one(),
        without_secret(read_silences(session)),
        tuple((slug, until) for slug, until in connection.execute(_PAUSED, {"now": now})),
        read_books(session),
        tuple(_ailing(row) for row in connection.execute(_AILING, {"most": MOST_ENDPOINTS})),
        tuple(holding(session, now)),
    )


def read_books(session: Session) -> Books:
    """Return what the last proof of the ledger has found."""
    found = session.exec(select(BooksCheck)).one_or_none()
    if found is None:
        return Books(None, (), 0, ())
    return Books(found.checked_at, tuple(found.violations), found.number, tuple(found.waiting))


def _ailing(row: Any) -> Ailing:
    host = urlsplit(row.url).netloc  # path and query may hold a token of the partner's
    return Ailing(row.id, row.name, host, row.breaker, row.disabled_reason, row.failing_since)


_AILING: Final = text(
    """
    SELECT p.id, o.name, p.url, p.breaker, p.disabled_reason, p.failing_since
    FROM endpoint p JOIN organisation o ON o.id = p.organisation_id
    WHERE (p.breaker <> 'closed' OR p.disabled_reason IS NOT NULL) AND p.deleted_at IS NULL
        AND (p.is_enabled OR p.disabled_reason IS NOT NULL)
    ORDER BY p.is_enabled, p.failing_since, p.id LIMIT :most
    """
)
_INBOX: Final = text(
    """
    SELECT state, count(*) FROM inbox_set_aside WHERE state <> 'unmatched' OR set_aside_at < :old GROUP BY state
    """
)
_DEAD: Final = text("SELECT count(*) FROM delivery WHERE state = 'dead'")
_PAUSED: Final = text(
    "SELECT slug, polls_paused_until FROM integration WHERE is_active AND polls_paused_until > :now ORDER BY slug"
)
