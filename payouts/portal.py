"""The partner's page: links that open it, and the visits that they lead to.

A link is opened once, within an hour unless its maker says otherwise. What it leads to is a visit of some hours with a
cookie, so that the link itself can be forgotten. Both end early with the API key that made the link, or when asked to.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from models import audit
from models.portal import PortalLink
from payouts.create import Refused
from payouts.pages import Stretch, is_name
from payouts.payload import rfc3339
from payouts.sight import Sight

LIFETIME: Final = timedelta(hours=1)
SHORTEST_LIFETIME: Final = timedelta(minutes=1)
LONGEST_LIFETIME: Final = timedelta(hours=24)
VISIT: Final = timedelta(hours=8)
NEWEST: Final = Stretch("lnk")


@dataclass(frozen=True, slots=True)
class Minted:
    """A new link, and the token that opens it, which is not stored."""

    link: PortalLink
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Visit:
    """Somebody who has come by a link."""

    link_id: str
    organisation_id: str
    organisation: str
    """Its name."""
    test_mode: bool
    until: datetime

    @property
    def sight(self) -> Sight:
        """Return what they may see."""
        return Sight(self.organisation_id, self.test_mode)

    @property
    def actor(self) -> str:
        """Return who it was, for the audit trail."""
        return f"portal:{self.link_id}"


def mint(
    session: Session,
    organisation_id: str,
    *,
    test_mode: bool,
    lifetime: timedelta = LIFETIME,
    key_id: str | None = None,
    actor: str,
    now: datetime,
) -> Minted:
    """Make a link. Raises `Refused`."""
    if not SHORTEST_LIFETIME <= lifetime <= LONGEST_LIFETIME:
        raise Refused("lifetime_invalid", "a link can be opened for at least a minute and at most 24 hours")
    token = secrets.token_urlsafe(32)
    link = PortalLink(
        organisation_id=organisation_id,
        test_mode=test_mode,
        digest=_digest(token),
        key_id=key_id,
        made_by=actor,
        created_at=now,
        expires_at=now + lifetime,
    )
    session.add(link)
    session.flush()
    _note(session, link, "portal_link.minted", actor, now)
    return Minted(link, token)


def can_be_opened(session: Session, token: str, now: datetime) -> bool:
    """Tell whether a token opens anything now, without opening it."""
    return bool(session.connection().execute(_IS_FRESH, {"digest": _digest(token), "now": now}).scalar_one())


def open_link(session: Session, token: str, now: datetime) -> Visit:
    """Open a link, this once. Raises `Refused`."""
    asked = {"digest": _digest(token), "now": now, "until": now + VISIT}
    link_id = session.connection().execute(_OPEN, asked).scalar_one_or_none()
    visit = find_visit(session, link_id, now) if link_id else None
    if visit is None:
        raise Refused("link_over", "this link has been opened already, or has expired; ask for a new one")
    line = {"visit_until": rfc3339(visit.until)}
    audit.record(
        session, actor=visit.actor, action="portal_link.opened", entity=visit.link_id, before=None, after=line, now=now
    )
    return visit


def find_visit(session: Session, link_id: str, now: datetime) -> Visit | None:
    """Return the visit of an opened link, or None when it is over."""
    if not is_name(link_id):
        return None
    row = session.connection().execute(_VISIT, {"id": link_id, "now": now}).one_or_none()
    return Visit(*row) if row else None


def end(session: Session, sight: Sight, link_id: str, *, actor: str, now: datetime) -> None:
    """End a link and the visit it has led to; ending it again changes nothing. Raises `Refused`."""
    wanted = select(PortalLink).where(text(sight.narrows("portal_link"))).params(**sight.parameters)
    mine = wanted.where(PortalLink.id == link_id).with_for_update()
    link = session.exec(mine).one_or_none() if is_name(link_id) else None
    if link is None:
        raise Refused("unknown_link", "there is no such link")
    if link.ended_at is None:
        link.ended_at = now
        _note(session, link, "portal_link.ended", actor, now)


def list_links(session: Session, sight: Sight, stretch: Stretch = NEWEST) -> list[PortalLink]:
    """Return the links, newest first. Their tokens are known to nobody."""
    conditions = [text(each) for each in (sight.narrows("portal_link"), *stretch.within("portal_link.id"))]
    asked = {**sight.parameters, **stretch.parameters}
    del asked["limit"]
    if not is_name(*asked.values()):
        return []
    wanted = select(PortalLink).where(*conditions).params(**asked)
    return list(session.exec(wanted.order_by(col(PortalLink.id).desc()).limit(stretch.limit)))


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def _note(session: Session, link: PortalLink, action: str, actor: str, now: datetime) -> None:
    line = {
        "organisation": link.organisation_id,
        "test_mode": link.test_mode,
        "expires_at": rfc3339(link.expires_at),
        "ended_at": rfc3339(link.ended_at),
    }
    audit.record(session, actor=actor, action=action, entity=link.id, before=None, after=line, now=now)


_KEY_LIVES: Final = """(l.key_id IS NULL OR EXISTS (
        SELECT FROM api_key k WHERE k.id = l.key_id AND k.revoked_at IS NULL
            AND (k.expires_at IS NULL OR k.expires_at > :now)
    ))"""
_FRESH: Final = f"""l.digest = :digest AND l.opened_at IS NULL AND l.ended_at IS NULL AND l.expires_at > :now
    AND {_KEY_LIVES}"""

_IS_FRESH: Final = text(f"SELECT EXISTS (SELECT FROM portal_link l WHERE {_FRESH})")  # noqa: S608 (fragments of this file)
_OPEN: Final = text(
    f"UPDATE portal_link l SET opened_at = :now, visit_until = :until WHERE {_FRESH} RETURNING l.id"  # noqa: S608
)
"""One statement: of two who open it at the same moment, the second waits for the first and then finds it opened."""

_VISIT: Final = text(
    f"""
    SELECT l.id, l.organisation_id, o.name, l.test_mode, l.visit_until
    FROM portal_link l JOIN organisation o ON o.id = l.organisation_id
    WHERE l.id = :id AND l.ended_at IS NULL AND l.visit_until > :now AND {_KEY_LIVES}
    """  # noqa: S608
)
