"""Quotes: what a payout would cost, by which route, for a minute; and the payout that uses one up.

A quote pays once. Whoever marks its row first has it; the others wait for that transaction and are told. In test mode
nothing is used up: the payout's id is made from organisation and quote, so the same request gives the same payout.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, select

from models.balance import Balance
from models.ids import new_id
from models.integration import Integration
from models.organisation import Organisation
from models.quote import Quote
from models.sealed import seal, unseal
from payouts.create import Created, NewPayout, create
from payouts.payer import Cost
from payouts.refused import Refused
from payouts.routes import Errand, Route, matching, routes

VALID: Final = timedelta(seconds=60)

KEPT: Final = timedelta(days=1)
"""After it has expired, one that nobody has used."""


@dataclass(frozen=True, slots=True)
class Better:
    """A route that would have been better than the one that a hint has chosen."""

    route: Route
    savings_minor: int
    """In the asset."""


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What is missing on the balance that would pay. Data, not a refusal: a quote may come before the money."""

    needed_minor: int
    available_minor: int


@dataclass(frozen=True, slots=True)
class Quoted:
    """A quote, and what is to be said beside it."""

    quote: Quote
    route: Route
    better: Better | None
    shortfall: Shortfall | None


def quote(
    session: Session, errand: Errand, now: datetime, *, gateway: str | None = None, network: str | None = None
) -> Quoted:
    """Price an errand and keep the price for a minute. Raises `Refused`."""
    found, refusals = routes(session, errand, now)
    chosen = matching(found, gateway, network)
    if not chosen:
        raise _no_route(errand, refusals, has_hint=bool(gateway or network))
    route, best = chosen[0], found[0]
    row = Quote(
        organisation_id=errand.organisation.id,
        test_mode=errand.test_mode,
        asset=errand.asset,
        send_minor=errand.send_minor,
        fee_minor=route.price.fee_minor,
        fees=[asdict(item) for item in route.price.items],
        currency=errand.currency,
        get_minor=route.price.get_minor,
        rate=errand.rate,
        integration_id=route.integration_id,
        network=route.network,
        mode=errand.wish.mode,
        estimated_seconds=route.estimated_seconds,
        details=seal(dict(route.address.details)),
        destination_label=route.address.label,
        created_at=now,
        expires_at=now + VALID,
    )
    session.add(row)
    session.flush()
    savings = route.price.fee_minor - best.price.fee_minor
    return Quoted(row, route, Better(best, savings) if savings > 0 else None, _shortfall(session, row))


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """A payout of a quote, and what it carries along."""

    quote_id: str
    organisation: Organisation
    test_mode: bool
    description: str = ""
    reference: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def use_quote(session: Session, use: Use, now: datetime, *, actor: str, request_id: str | None = None) -> Created:
    """Create the payout that was quoted. Raises `Refused`."""
    row, is_first = _used_in_test(session, use, now) if use.test_mode else (_used(session, use, now), True)
    if not is_first:
        return Created(row.payout_id or "", [], [], is_due=False)
    integration = session.get_one(Integration, row.integration_id)
    new = NewPayout(
        id=row.payout_id,
        integration=integration.slug,
        organisation=use.organisation.name,
        organisation_id=use.organisation.id,
        order_key=None,
        amount_minor=row.get_minor,
        currency=row.currency,
        description=use.description,
        details=unseal(row.details),
        test_mode=use.test_mode,
        partner_reference=use.reference,
        metadata=use.metadata,
        mode=row.mode,
        destination_label=row.destination_label,
        route_seconds=row.estimated_seconds,
        cost=Cost(row.send_minor, row.fee_minor, row.asset),
        quote_id=row.id,
    )
    return create(session, new, now, actor=actor, request_id=request_id, integration=integration)


def forget_quotes(session: Session, now: datetime, most: int) -> int:
    """Forget quotes that ran out unused a while ago, at most so many; return how many went."""
    return session.connection().execute(_FORGET, {"old": now - KEPT, "most": most}).rowcount


def _used(session: Session, use: Use, now: datetime) -> Quote:
    """Mark it used: of any number at once, one. The others wait here for that one's commit."""
    marks = {"id": use.quote_id, "organisation": use.organisation.id, "payout": new_id("pay"), "now": now}
    if session.connection().execute(_USE, marks).rowcount:
        return _found(session, use)
    row = _found(session, use)
    if row.used_at is None:
        raise _expired(row)
    raise Refused("quote_already_used", f"{row.id} was used for {row.payout_id}: a quote pays once")


def _used_in_test(session: Session, use: Use, now: datetime) -> tuple[Quote, bool]:
    """Use it without using it up, and tell whether this is the first time. Two at once mean the same one payout."""
    session.connection().execute(_LOCK, {"id": use.quote_id})
    row = _found(session, use)
    if row.payout_id is not None:
        return row, False
    if row.expires_at <= now:
        raise _expired(row)
    row.used_at, row.payout_id = now, _test_payout_id(row)
    session.flush()
    return row, True


def _found(session: Session, use: Use) -> Quote:
    wanted = select(Quote).where(Quote.id == use.quote_id, Quote.test_mode == use.test_mode)
    row = session.exec(wanted.execution_options(populate_existing=True)).one_or_none()
    if row is None:
        raise Refused("quote_unknown", "there is no quote of this id: ask for one")
    if row.organisation_id != use.organisation.id:
        raise Refused("quote_foreign", "this quote was given to somebody else")
    return row


def _expired(row: Quote) -> Refused:
    return Refused("quote_expired", f"{row.id} held until {row.expires_at:%H:%M:%S}Z: ask for a new one")


def _test_payout_id(row: Quote) -> str:
    """Return the quote's own time and a digest, so that it sorts like every other id."""
    digest = hashlib.sha256(f"{row.organisation_id}/{row.id}".encode()).hexdigest()
    return f"pay_{row.id.removeprefix('quo_')[:12]}{digest[:16]}"


def _shortfall(session: Session, row: Quote) -> Shortfall | None:
    """Return what is missing, for an organisation that pays in beforehand."""
    balances = session.exec(
        select(Balance).where(Balance.organisation_id == row.organisation_id, Balance.test_mode == row.test_mode)
    ).all()
    if not balances:
        return None
    available = sum(balance.available_minor for balance in balances if balance.currency == row.asset)
    return Shortfall(row.send_minor - available, available) if available < row.send_minor else None


def _no_route(errand: Errand, refusals: dict[str, Refused], *, has_hint: bool) -> Refused:
    """Say why nobody carries it: what is wrong with accounts, not which they are."""
    why = "; ".join(dict.fromkeys(f"{no.code}" for no in refusals.values()))
    hint = " by that gateway and network" if has_hint else ""
    pair = errand.asset if errand.asset == errand.currency else f"{errand.asset} to {errand.currency}"
    return Refused("no_route", f"there is no route for {pair}{hint}" + (f" ({why})" if why else ""))


_USE: Final = text(
    """
    UPDATE quote SET used_at = :now, payout_id = :payout
    WHERE id = :id AND organisation_id = :organisation AND NOT test_mode AND used_at IS NULL AND expires_at > :now
    """
)
_LOCK: Final = text("SELECT FROM quote WHERE id = :id FOR NO KEY UPDATE")
_FORGET: Final = text(
    """
    DELETE FROM quote WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM quote WHERE expires_at < :old AND used_at IS NULL ORDER BY expires_at LIMIT :most
    ))
    """
)
