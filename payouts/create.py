"""A payout comes into being: the guards, then one row, its first event and what partners are owed for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final

from psycopg.errors import UniqueViolation
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from connectors import connector_class
from models.audit import record
from models.ids import new_id
from models.integration import Integration
from models.lifecycle import PayoutStatus
from models.organisation import Organisation
from models.payout import SubmissionState
from models.sealed import seal
from models.switch import Switch
from payouts.integrations import AnyIntegration
from payouts.ledger import follow, hold
from payouts.observe import announce_birth, release_unmatched
from payouts.parking import switched_off
from payouts.payer import Cost, paying_balance, why_not
from payouts.polling import next_poll_at
from payouts.refused import Refused
from payouts.standing import Standing, new_standing

__all__ = ["Created", "NewPayout", "Refused", "create"]

FORGOTTEN_AFTER: Final = timedelta(seconds=10)
"""A new payout is normally submitted within milliseconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPayout:
    """What a caller asks for. `reference` is given only for a payout that the gateway has already."""

    integration: str
    organisation: str
    """Its name."""
    organisation_id: str | None = None
    """Its id, where the caller knows it; then the name is not looked up."""
    order_key: str | None
    """None is the payout's own id."""
    amount_minor: int
    currency: str
    reference: str | None = None
    description: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)
    test_mode: bool = False
    partner_reference: str | None = None
    metadata: Mapping[str, str] | None = None
    mode: str | None = None
    destination_label: str | None = None
    scheduled_at: datetime | None = None
    """When it is to leave; None is at once."""
    cost: Cost | None = None
    """Where it differs from the amount in its own currency."""
    id: str | None = None
    """Where somebody has to know it beforehand."""
    quote_id: str | None = None
    business_day: date | None = None
    """Of a payout of a balance: the day it leaves."""
    route_seconds: int | None = None
    """From submission to arrival, until the gateway knows better."""


@dataclass(frozen=True, slots=True)
class Created:
    """A payout on record, and what its edge enqueues after the commit."""

    id: str
    deliveries: list[str]
    released: list[int]
    is_due: bool = True
    """Whether it is to be handed over now."""
    standing: Standing | None = field(default=None, repr=False)
    """As it was written; None for one that was there before."""
    steps: tuple[PayoutStatus, ...] = ()
    """What it has been told to be, all of it now."""
    is_of_a_quote: bool = False


def create(
    session: Session,
    new: NewPayout,
    now: datetime,
    *,
    actor: str = "system",
    request_id: str | None = None,
    integration: AnyIntegration | None = None,
    rolls_back: bool = False,
) -> Created:
    """Put a payout on record, and who did. Without a reference it is still to be submitted. Raises `Refused`.

    `integration` spares a look-up where the caller has just read it. `rolls_back` spares a savepoint where the caller
    lets every refusal end its transaction; otherwise one that is refused leaves nothing behind.
    """
    organisation_id = new.organisation_id or _organisation_id(session, new.organisation)
    integration = integration or find_integration(session, new.integration)
    guard(session, integration, new, organisation_id or "", now)
    if organisation_id is None:
        raise Refused("unknown_organisation", f"no organisation {new.organisation!r}: `ratchet endpoints add`")
    cost = new.cost or Cost(new.amount_minor, 0, new.currency)
    balance_id = paying_balance(session, organisation_id, cost.currency, test_mode=new.test_mode)
    standing = _standing(new, organisation_id, integration.id or 0, balance_id, now)
    beside = {
        "description": new.description,
        "details": seal(dict(new.details)) if new.details else None,
        "destination_label": new.destination_label,
        "debit_minor": cost.debit_minor if balance_id else None,
        "fee_minor": cost.fee_minor if balance_id else None,
        "quote_id": new.quote_id,
        "business_day": new.business_day,
    }
    with _only_one(), nullcontext() if rolls_back else session.begin_nested():
        birth = announce_birth(session, standing, beside, now)
        record(
            session,
            actor=actor,
            action="payout.created",
            entity=standing.id,
            before=None,
            after=_facts(new),
            request_id=request_id,
            now=now,
        )
        # An id that is made here is a key that nobody can have heard of.
        is_known = new.reference or new.order_key or new.id
        released = release_unmatched(session, [standing]) if is_known else []
        if new.reference:
            follow(session, [standing], now)  # the gateway has it already: the books can only follow
        elif balance_id and not hold(session, standing.id, balance_id, cost.debit_minor, now):
            raise why_not(session, balance_id)
    is_due = not new.reference and (new.scheduled_at is None or new.scheduled_at <= now)
    return Created(standing.id, birth.deliveries, released, is_due, standing, birth.steps, new.quote_id is not None)


def _organisation_id(session: Session, name: str) -> str | None:
    return session.exec(select(Organisation.id).where(Organisation.name == name)).one_or_none()


def _standing(
    new: NewPayout, organisation_id: str, integration_id: int, balance_id: str | None, now: datetime
) -> Standing:
    """Return the payout before anything is known of it."""
    payout_id = new.id or new_id("pay")
    # Should the message be lost, the reconciler submits it then; one that the gateway has is asked about.
    next_poll = next_poll_at(PayoutStatus.PENDING, 0, now) if new.reference else now + FORGOTTEN_AFTER
    return new_standing(
        id=payout_id,
        organisation_id=organisation_id,
        integration_id=integration_id,
        order_key=new.order_key or payout_id,
        gateway_reference=new.reference,
        amount_minor=new.amount_minor,
        currency=new.currency,
        test_mode=new.test_mode,
        partner_reference=new.partner_reference,
        partner_metadata=dict(new.metadata) if new.metadata else None,
        mode=new.mode,
        scheduled_at=new.scheduled_at,
        route_seconds=new.route_seconds,
        balance_id=balance_id,
        submission=SubmissionState.ACCEPTED if new.reference else SubmissionState.UNSENT,
        created_at=now,
        next_poll_at=next_poll,
    )


def find_integration(session: Session, slug: str) -> Integration:
    """Return the integration of that slug. Raises `Refused`."""
    integration = session.exec(select(Integration).where(Integration.slug == slug)).one_or_none()
    if integration is None:
        raise Refused("unknown_integration", f"no integration {slug!r}; `ratchet gateways list` shows them")
    return integration


def guard(session: Session, integration: AnyIntegration, new: NewPayout, organisation_id: str, now: datetime) -> None:
    """Pass if an integration may carry it. Raises `Refused`: the first guard that fails."""
    slug, currency = integration.slug, new.currency
    if not integration.is_active:
        raise Refused("integration_inactive", f"{slug} is disabled; `ratchet gateways enable {slug}`")
    if not integration.payouts_enabled:
        raise Refused("payouts_disabled", f"payouts are switched off for {slug}")
    if switch := switched_off(session, integration, currency, organisation_id, now):
        raise Refused("payouts_disabled", _switched_off(switch))
    connector = connector_class(integration.connector)
    if not connector.SUPPORTS_PAYOUTS:
        raise Refused("payouts_unsupported", f"{integration.connector} cannot create payouts")
    if connector.REQUIRES_WEBHOOK_SECRET and not integration.has_webhook_secret:
        raise Refused("webhook_secret_missing", f"{slug} has no webhook secret, so its outcome could not be verified")
    if not pays_out_in(integration, currency):
        raise Refused("currency_unsupported", f"{slug} does not pay out in {currency}")
    if integration.test_mode and not new.test_mode:
        raise Refused("mode_differs", f"{slug} is a test account: it would move no money")
    if new.test_mode and not integration.test_mode:
        raise Refused("mode_differs", f"{slug} is no test account: it would move real money")


def _switched_off(switch: Switch) -> str:
    """Return what anybody may know: not why, and of other partners nothing."""
    end = f"until {switch.until:%Y-%m-%d %H:%M}Z" if switch.until else "until further notice"
    return f"payouts are switched off {end}, scope {switch.scope}: nothing was created"


def pays_out_in(integration: AnyIntegration, currency: str) -> bool:
    """Tell whether both the account and its gateway pay out in that currency, as far as anybody has said."""
    theirs = connector_class(integration.connector).CURRENCIES
    ours = integration.currencies
    return (theirs is None or currency in theirs) and (ours is None or currency in ours)


def _facts(new: NewPayout) -> dict[str, Any]:
    """Return what the audit trail may know: nothing of the beneficiary."""
    names = ("integration", "organisation", "order_key", "amount_minor", "currency", "reference", "test_mode")
    return {name: getattr(new, name) for name in names}


@contextmanager
def _only_one() -> Iterator[None]:
    """Of two with one key, the database's own uniqueness decides."""
    try:
        yield
    except IntegrityError as error:
        if not isinstance(error.orig, UniqueViolation):
            raise
        if error.orig.diag.constraint_name == "uq_payout_balance_day":
            raise Refused("already_scheduled", "the balance has a payout on that day already") from None
        raise Refused("payout_exists", "a payout of this integration has this order key or reference already") from None
