"""API keys: minted, listed, rotated, revoked, and who somebody is who shows one."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from models.api_key import ApiKey, Scope, digest_of, is_well_formed, new_key
from models.audit import record
from models.database import Quick
from models.organisation import Organisation
from payouts.create import Refused
from payouts.payload import rfc3339

TOUCHED_EVERY: Final = timedelta(minutes=1)
LONGEST_NAME: Final = 100


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key: what is on record, and the key itself, which nobody can be shown again."""

    row: ApiKey
    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and what they may see and do."""

    organisation_id: str
    key_id: str
    test_mode: bool
    """Live and test objects never see each other."""
    scopes: frozenset[str]
    organisation: str = ""
    """Its name."""


def mint(  # noqa: PLR0913 (what a key has, by name)
    session: Session,
    organisation: Organisation,
    *,
    test_mode: bool,
    scopes: Collection[Scope],
    name: str = "",
    expires_at: datetime | None = None,
    actor: str,
    now: datetime,
) -> Minted:
    """Make a key for an organisation. Raises `Refused`."""
    if not scopes:
        raise Refused("no_scope", f"a key without a scope opens nothing; there are: {', '.join(Scope)}")
    if len(name) > LONGEST_NAME or not (name.isprintable()):
        raise Refused("invalid_name", f"a name has at most {LONGEST_NAME} printable characters")
    if expires_at is not None and expires_at <= now:
        raise Refused("invalid_expiry", "the key would have expired already")
    key = new_key(test_mode=test_mode)
    row = ApiKey(
        organisation_id=organisation.id,
        test_mode=test_mode,
        name=name,
        digest=digest_of(key),
        last_four=key[-4:],
        scopes=sorted(set(scopes)),
        created_at=now,
        expires_at=expires_at,
    )
    session.add(row)
    session.flush()
    record(session, actor=actor, action="key.minted", entity=row.id, before=None, after=_told(row), now=now)
    return Minted(row, key)


def rotate(session: Session, key_id: str, grace: timedelta, *, actor: str, now: datetime) -> Minted:
    """Make a key that may do the same, and let the old one work for `grace` longer. Raises `Refused`."""
    old = _locked(session, key_id)
    if not old.is_live(now):
        raise Refused("key_not_live", f"{key_id} is revoked or has expired: mint a new one")
    organisation = session.exec(select(Organisation).where(Organisation.id == old.organisation_id)).one()
    scopes = [Scope(scope) for scope in old.scopes]
    minted = mint(session, organisation, test_mode=old.test_mode, scopes=scopes, name=old.name, actor=actor, now=now)
    before, ends_at = _told(old), now + grace
    old.expires_at = min(old.expires_at, ends_at) if old.expires_at else ends_at
    after = {**_told(old), "replaced_by": minted.row.id}
    record(session, actor=actor, action="key.rotated", entity=old.id, before=before, after=after, now=now)
    return minted


def revoke(session: Session, key_id: str, *, actor: str, now: datetime) -> None:
    """End a key now, for good; ending it again changes nothing. Raises `Refused`."""
    row = _locked(session, key_id)
    if row.revoked_at is None:
        before, row.revoked_at = _told(row), now
        record(session, actor=actor, action="key.revoked", entity=row.id, before=before, after=_told(row), now=now)


def list_keys(session: Session) -> Sequence[tuple[ApiKey, str]]:
    """Return every key with its organisation's name, oldest first."""
    rows = select(ApiKey, Organisation.name).where(col(Organisation.id) == ApiKey.organisation_id)
    return session.exec(rows.order_by(col(ApiKey.created_at), col(ApiKey.id))).all()


def authenticate(session: Session, key: str, now: datetime) -> Caller | None:
    """Return who shows this key, or None for one that opens nothing.

    Found by its digest in a unique index: how long that takes tells a guesser nothing about any key.
    """
    if not is_well_formed(key):
        return None
    row = _FIND.run(session, {"digest": digest_of(key), "now": now}).fetchone()
    return Caller(row.organisation_id, row.id, row.test_mode, frozenset(row.scopes), row.name) if row else None


def touch(session: Session, key_id: str, now: datetime) -> None:
    """Note that a key was used, at most once a minute."""
    session.connection().execute(_TOUCH, {"id": key_id, "now": now, "before": now - TOUCHED_EVERY})


def _told(row: ApiKey) -> dict[str, str | list[str] | None]:
    """Return what the audit trail says of a key."""
    return {
        "organisation": row.organisation_id,
        "key": row.shown,
        "scopes": row.scopes,
        "expires_at": rfc3339(row.expires_at),
        "revoked_at": rfc3339(row.revoked_at),
    }


def _locked(session: Session, key_id: str) -> ApiKey:
    row = session.exec(select(ApiKey).where(ApiKey.id == key_id).with_for_update()).one_or_none()
    if row is None:
        raise Refused("unknown_key", f"no key {key_id!r}; `ratchet keys list` shows them")
    return row


_FIND: Final = Quick(
    """
    SELECT k.id, k.organisation_id, k.test_mode, k.scopes, o.name
    FROM api_key k JOIN organisation o ON o.id = k.organisation_id
    WHERE k.digest = :digest AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > :now)
    """
)
_TOUCH: Final = text(
    "UPDATE api_key SET last_used_at = :now WHERE id = :id AND (last_used_at IS NULL OR last_used_at <= :before)"
)
