"""Letters about endpoints that we have switched off: to the partner, and to whoever runs this installation.

A letter is due as a notice's `next_mail_at`; the reconciler queues it, a worker sends it. Nothing waits for it.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from payouts.payload import rfc3339
from settings import settings

WAITS: Final = (
    timedelta(minutes=1),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=8),
)
"""After each failed attempt to hand it over; then it is given up, and the report still tells."""
LEASE: Final = timedelta(minutes=2)
"""How long a letter that is being handed over is nobody else's."""
MOST: Final = 100


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter, ready to be handed over."""

    notice_id: str
    to: tuple[str, ...] = field(repr=False)
    subject: str
    text: str = field(repr=False)


def due_letters(session: Session, now: datetime) -> list[str]:
    """Return the notices about which a letter is due."""
    return [row[0] for row in session.connection().execute(_DUE, {"now": now, "most": MOST})]


def take_letter(session: Session, notice_id: str, now: datetime) -> Letter | None:
    """Lease a letter that is due; None when it is not (any more), or when nobody is to be written to."""
    asked = {"id": notice_id, "now": now, "lease": now + LEASE}
    row = session.connection().execute(_TAKE, asked).one_or_none()
    if row is None:
        return None
    to = tuple(address for address in (row.contact_email, settings().mail_to) if address)
    if not to:
        session.connection().execute(_SENT, {"id": notice_id, "now": None})
        return None
    return Letter(notice_id, to, _subject(row), _text(row))


def letter_sent(session: Session, notice_id: str, now: datetime) -> None:
    """Note that it was handed over."""
    session.connection().execute(_SENT, {"id": notice_id, "now": now})


def letter_failed(session: Session, notice_id: str, now: datetime) -> bool:
    """Put it off. Returns False when it is given up."""
    attempts: int = session.connection().execute(_ATTEMPTS, {"id": notice_id}).scalar_one()
    wait = WAITS[attempts - 1] if attempts <= len(WAITS) else None
    session.connection().execute(_PUT_OFF, {"id": notice_id, "next": now + wait if wait else None})
    return wait is not None


def _subject(row: Any) -> str:
    mode = " (test)" if row.test_mode else ""
    return f"Webhook endpoint switched off{mode}: {_plain(row.description) or row.endpoint_id}"


def _text(row: Any) -> str:
    why = {
        "gone": "It answered 410 Gone.",
        "failing": f"Nothing but failure since {rfc3339(row.failing_since)}.",
    }.get(row.disabled_reason, "It has been enabled or changed since.")
    return (
        f"The webhook endpoint {row.endpoint_id} of {_plain(row.name)} was switched off at {rfc3339(row.created_at)}.\n"
        f"{why}\n\n"
        "What it is owed is kept and goes out when the endpoint is enabled again. What happens while it is off is\n"
        "not sent by itself: ask for a recovery after enabling it.\n"
    )


def _plain(given: str) -> str:
    """Return a name on one line."""
    return " ".join(given.split())[:120]


_DUE: Final = text("SELECT id FROM notice WHERE next_mail_at <= :now ORDER BY next_mail_at LIMIT :most")
_TAKE: Final = text(
    """
    WITH taken AS (
        UPDATE notice SET next_mail_at = :lease, mail_attempts = mail_attempts + 1
        WHERE id = (SELECT id FROM notice WHERE id = :id AND next_mail_at <= :now FOR UPDATE SKIP LOCKED)
        RETURNING endpoint_id, organisation_id, test_mode, created_at
    )
    SELECT t.*, p.description, p.disabled_reason, p.failing_since, o.name, o.contact_email
    FROM taken t JOIN endpoint p ON p.id = t.endpoint_id JOIN organisation o ON o.id = t.organisation_id
    """
)
_SENT: Final = text("UPDATE notice SET next_mail_at = NULL, mailed_at = :now WHERE id = :id")
_ATTEMPTS: Final = text("SELECT mail_attempts FROM notice WHERE id = :id")
_PUT_OFF: Final = text("UPDATE notice SET next_mail_at = :next WHERE id = :id")
