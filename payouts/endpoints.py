"""A partner's endpoints: added, changed, given new secrets, switched on and off, deleted.

Every change is one audit line, without secrets, URLs or header values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import text
from sqlmodel import Session, col, func, select

from models import audit
from models.endpoint import PRIVATE, SYMMETRIC, Breaker, Endpoint, EndpointSecrets, new_private_key, new_secret
from models.organisation import Organisation
from models.sealed import CannotOpen, seal, unseal
from payouts.endpoint_choices import Wish, checked
from payouts.notices import Told, tell_of_disabled
from payouts.pages import Stretch, is_name
from payouts.refused import Refused
from payouts.sight import Sight

GRACE: Final = timedelta(hours=24)
"""How long replaced secrets go on signing beside the new ones, unless somebody says otherwise."""
LONGEST_GRACE: Final = timedelta(days=30)
MOST_ENDPOINTS: Final = 200
"""Of one organisation, live and test together: every event is looked at for each of them."""
MOST_SECRETS: Final = 4
"""That sign at a time, of a kind; each is one more signature in the header."""


class Reason(StrEnum):
    """Why we have switched an endpoint off."""

    GONE = "gone"
    """It answered 410: nobody wants this any more."""
    FAILING = "failing"
    """Nothing but failure for days."""


@dataclass(frozen=True, slots=True)
class Added:
    """A new endpoint and its secret, to be shown this once."""

    endpoint: Endpoint
    secret: str = field(repr=False)


def add(
    session: Session, organisation_id: str, wish: Wish, *, test_mode: bool = False, actor: str, now: datetime
) -> Added:
    """Add an endpoint; the wish must have a `url`. Raises `Refused`."""
    if "url" not in wish:
        raise Refused("url_missing", "an endpoint needs a url")
    columns = _columns(wish)
    known = select(func.count()).where(Endpoint.organisation_id == organisation_id, col(Endpoint.deleted_at).is_(None))
    if session.exec(known).one() >= MOST_ENDPOINTS:
        raise Refused("too_many_endpoints", f"an organisation has at most {MOST_ENDPOINTS} endpoints; delete one first")
    secret = new_secret()
    endpoint = Endpoint(
        organisation_id=organisation_id,
        test_mode=test_mode,
        sealed=EndpointSecrets.of(secret, new_private_key()).sealed(),
        created_at=now,
        updated_at=now,
        **columns,
    )
    session.add(endpoint)
    session.flush()
    _note(session, endpoint, "endpoint.added", None, actor, now)
    return Added(endpoint, secret)


def find(
    session: Session,
    endpoint_id: str,
    *,
    organisation_id: str | None = None,
    test_mode: bool | None = None,
    for_change: bool = False,
) -> Endpoint:
    """Return an endpoint, of this organisation and mode if they are given. Raises `Refused`."""
    query = select(Endpoint).where(Endpoint.id == endpoint_id, col(Endpoint.deleted_at).is_(None))
    if organisation_id is not None:
        query = query.where(Endpoint.organisation_id == organisation_id)
    if test_mode is not None:
        query = query.where(Endpoint.test_mode == test_mode)
    if for_change:
        query = query.with_for_update()
    endpoint = session.exec(query).one_or_none()
    if endpoint is None:
        raise Refused("unknown_endpoint", "there is no such endpoint; list them to see those there are")
    return endpoint


def list_endpoints(session: Session, sight: Sight, stretch: Stretch) -> list[Endpoint]:
    """Return the endpoints, newest first."""
    conditions = [text(condition) for condition in (sight.narrows("endpoint"), *stretch.within("endpoint.id"))]
    asked = {**sight.parameters, **stretch.parameters}
    del asked["limit"]
    if not is_name(*asked.values()):
        return []
    wanted = select(Endpoint).where(*conditions, col(Endpoint.deleted_at).is_(None)).params(**asked)
    return list(session.exec(wanted.order_by(col(Endpoint.id).desc()).limit(stretch.limit)))


def change(session: Session, endpoint: Endpoint, wish: Wish, *, actor: str, now: datetime) -> None:
    """Change what the wish names. Raises `Refused`. What is owed already goes to the new URL, by the new choices."""
    before = _facts(endpoint)
    for name, value in _columns(wish).items():
        setattr(endpoint, name, value)
    endpoint.updated_at = now
    _note(session, endpoint, "endpoint.changed", before, actor, now)


def rotate(session: Session, endpoint: Endpoint, *, grace: timedelta = GRACE, actor: str, now: datetime) -> str:
    """Give it a new secret and a new private key, and return the secret. The old ones sign too during `grace`.

    Raises `Refused`, also for a grace that nothing could have because the key of the old ones is lost.
    """
    if not timedelta(0) <= grace <= LONGEST_GRACE:
        raise Refused("grace_invalid", f"0 to {LONGEST_GRACE.days} days")
    secret = new_secret()
    secrets = _old_secrets(endpoint, grace).rotated((secret, new_private_key()), now + grace, now)
    if any(len(secrets.live(now, kind)) > MOST_SECRETS for kind in (SYMMETRIC, PRIVATE)):
        raise Refused(
            "too_many_secrets", f"{MOST_SECRETS} secrets sign already; wait until one expires, or rotate with no grace"
        )
    endpoint.keep(secrets)
    endpoint.updated_at = now
    line = {"old_secrets_until": (now + grace).isoformat()}
    audit.record(session, actor=actor, action="endpoint.rotated", entity=endpoint.id, before=None, after=line, now=now)
    return secret


def _old_secrets(endpoint: Endpoint, grace: timedelta) -> EndpointSecrets:
    try:
        return endpoint.secrets()
    except CannotOpen:
        if not grace:
            return EndpointSecrets()
        lost = "no key of this installation opens the old secrets, so they cannot go on signing"
        raise Refused("secrets_lost", f"{lost}; keep_old_hours 0 does without them") from None


def disable(session: Session, endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Send it nothing and owe it nothing new. What is owed already waits. `enable` undoes it."""
    before = _facts(endpoint)
    endpoint.is_enabled, endpoint.disabled_at, endpoint.disabled_reason = False, now, None
    endpoint.updated_at = now
    _note(session, endpoint, "endpoint.disabled", before, actor, now)


def switch_off(session: Session, endpoint_id: str, reason: Reason, now: datetime) -> Told:
    """Disable an endpoint by ourselves, and owe its organisation's other endpoints the news."""
    endpoint = find(session, endpoint_id, for_change=True)
    before = _facts(endpoint)
    endpoint.is_enabled, endpoint.disabled_at, endpoint.disabled_reason = False, now, reason
    endpoint.updated_at = now
    _note(session, endpoint, "endpoint.disabled", before, "system", now)
    return tell_of_disabled(session, endpoint, now)


def enable(session: Session, endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Deliver again, at once and as to a healthy one."""
    before = _facts(endpoint)
    endpoint.is_enabled, endpoint.disabled_at, endpoint.disabled_reason = True, None, None
    endpoint.breaker, endpoint.failures, endpoint.openings = Breaker.CLOSED, 0, 0
    endpoint.failing_since, endpoint.not_before = None, None
    endpoint.updated_at = now
    _note(session, endpoint, "endpoint.enabled", before, actor, now)


def delete(session: Session, endpoint: Endpoint, *, actor: str, now: datetime) -> None:
    """Forget its secrets and send it nothing any more. The history of its deliveries stays until its time."""
    before = _facts(endpoint)
    endpoint.is_enabled, endpoint.deleted_at, endpoint.updated_at = False, now, now
    endpoint.sealed, endpoint.sealed_headers = EndpointSecrets().sealed(), None
    audit.record(
        session, actor=actor, action="endpoint.deleted", entity=endpoint.id, before=before, after=None, now=now
    )


def set_contact(session: Session, organisation: Organisation | None, email: str, *, actor: str, now: datetime) -> None:
    """Set whom an organisation wants written to about its endpoints; "" for nobody. Raises `Refused`."""
    if organisation is None:
        raise Refused("unknown_organisation", "there is no such organisation; add an endpoint for it first")
    try:
        address = validate_email(email, check_deliverability=False).normalized if email else None
    except EmailNotValidError as error:
        raise Refused("email_invalid", str(error)) from None
    before, organisation.contact_email = organisation.contact_email, address
    audit.record(
        session,
        actor=actor,
        action="organisation.contact_changed",
        entity=organisation.id,
        before={"has_contact": before is not None},
        after={"has_contact": address is not None},
        now=now,
    )


def header_names(endpoint: Endpoint) -> list[str]:
    """Return the names of its own headers. Their values are never shown."""
    return sorted(unseal(endpoint.sealed_headers)) if endpoint.sealed_headers else []


def host(endpoint: Endpoint) -> str:
    """Return where it is, for people: its path and query may hold a token."""
    return urlsplit(endpoint.url).netloc


def _columns(wish: Wish) -> dict[str, Any]:
    columns = checked(wish)
    if "headers" in columns:
        headers = columns.pop("headers")
        columns["sealed_headers"] = seal(headers) if headers else None
    renamed = {"metadata": "labels", "signatures": "schemes"}
    return {renamed.get(name, name): value for name, value in columns.items()}


def _note(
    session: Session, endpoint: Endpoint, action: str, before: Mapping[str, Any] | None, actor: str, now: datetime
) -> None:
    audit.record(
        session, actor=actor, action=action, entity=endpoint.id, before=before, after=_facts(endpoint), now=now
    )


def _facts(endpoint: Endpoint) -> dict[str, Any]:
    """Return what an audit line may say of an endpoint. Headers whose key is lost are None: nobody knows them."""
    try:
        headers = header_names(endpoint)
    except CannotOpen:
        headers = None
    return {
        "host": host(endpoint),
        "event_types": endpoint.event_types,
        "headers": headers,
        "rate_limit": endpoint.rate_limit,
        "retry_schedule": endpoint.retry_schedule,
        "signatures": endpoint.schemes,
        "test_mode": endpoint.test_mode,
        "is_enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason,
    }
