"""Rows for tests, each with an article: `an_integration()`, `a_payout(status=…)`. They go the way the product goes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from itertools import count
from typing import Any

from sqlmodel import col, select

from connectors._base import PayoutUpdate
from models.balance import Balance, LedgerEntry
from models.database import transaction
from models.endpoint import Endpoint, EndpointSecrets, new_private_key, new_secret
from models.inbox import InboxEvent, InboxState, NewEvent, SetAsideEvent, state_of
from models.integration import Integration, IntegrationSecrets
from models.lifecycle import PayoutStatus
from models.organisation import Organisation
from models.outbox import Delivery
from models.payout import Observation, Payout, PayoutEvent, Source
from payouts.create import NewPayout, create
from payouts.observe import Evidence, Observed, observe
from payouts.prices import NewFee, set_fee, set_rate
from payouts.treasury import By, credit, keep_back, open_balance, set_terms

_numbers = count(1)

SECRET = "a-webhook-secret-for-tests"


def an_organisation(name: str = "Acme") -> Organisation:
    """Return the organisation of that name."""
    with transaction() as session:
        found = session.exec(select(Organisation).where(Organisation.name == name)).one_or_none()
        organisation = found or Organisation(name=name, created_at=datetime.now(UTC))
        session.add(organisation)
    return organisation


def an_integration(
    connector: str = "paycore",
    *,
    slug: str | None = None,
    webhook_secrets: tuple[str, ...] = (SECRET,),
    credentials: Mapping[str, str] | None = None,
    **columns: Any,
) -> Integration:
    """Return a new active integration."""
    now = datetime.now(UTC)
    integration = Integration(
        slug=slug or f"{connector}-{next(_numbers)}",
        connector=connector,
        sealed=b"",
        has_webhook_secret=False,
        created_at=now,
        updated_at=now,
        **columns,
    )
    integration.keep(IntegrationSecrets(webhook_secrets, credentials or {}))
    with transaction() as session:
        session.add(integration)
    return integration


def an_endpoint(url: str = "http://127.0.0.1:9/hooks", *, organisation: str = "Acme", **columns: Any) -> Endpoint:
    """Return a new endpoint with one secret and one private key."""
    now = datetime.now(UTC)
    endpoint = Endpoint(
        organisation_id=an_organisation(organisation).id,
        url=url,
        sealed=EndpointSecrets.of(new_secret(), new_private_key()).sealed(),
        created_at=now,
        updated_at=now,
        **columns,
    )
    with transaction() as session:
        session.add(endpoint)
    return endpoint


def a_payout(
    integration: Integration | None = None,
    *,
    status: PayoutStatus = PayoutStatus.PENDING,
    organisation: str = "Acme",
    reference: str | None = "",
    amount_minor: int = 10_000,
    currency: str = "EUR",
    order_key: str | None = None,
    **columns: Any,
) -> Payout:
    """Return a payout that the gateway has (unless `reference=None`), advanced to `status` by evidence."""
    an_organisation(organisation)
    number = next(_numbers)
    slug = (integration or an_integration()).slug
    new = NewPayout(
        integration=slug,
        organisation=organisation,
        order_key=order_key or f"order-{number}",
        amount_minor=amount_minor,
        currency=currency,
        reference=f"ref-{number}" if reference == "" else reference,
    )
    with transaction() as session:
        payout_id = create(session, new, datetime.now(UTC)).id
    if status is not PayoutStatus.PENDING:
        say(get_payout(payout_id), status)
    with transaction() as session:
        payout = session.exec(select(Payout).where(Payout.id == payout_id)).one()
        for name, value in columns.items():
            setattr(payout, name, value)
        if payout.quiet_since:
            payout.quiet_since = payout.advanced_at
    return payout


def get_payout(payout_id: str) -> Payout:
    """Return a payout as it stands now."""
    with transaction() as session:
        return session.exec(select(Payout).where(Payout.id == payout_id)).one()


def get_events(payout: Payout) -> list[PayoutEvent]:
    """Return a payout's events in order."""
    with transaction() as session:
        events = select(PayoutEvent).where(PayoutEvent.payout_id == payout.id)
        return list(session.exec(events.order_by(col(PayoutEvent.sequence))))


def get_observations(payout: Payout) -> list[Observation]:
    """Return what is on record about a payout, in order."""
    with transaction() as session:
        observations = select(Observation).where(Observation.payout_id == payout.id)
        return list(session.exec(observations.order_by(col(Observation.id))))


def get_deliveries(payout: Payout) -> list[Delivery]:
    """Return what is and was owed about a payout, in order."""
    with transaction() as session:
        deliveries = select(Delivery).where(Delivery.payout_id == payout.id)
        return list(session.exec(deliveries.order_by(col(Delivery.sequence), col(Delivery.id))))


def an_inbox_event(
    integration: Integration,
    body: bytes,
    *,
    event_key: str | None = None,
    state: InboxState = InboxState.NEW,
    **aside: Any,
) -> int:
    """Return the id of a verified webhook, stored and not applied yet; `aside` are columns of a `SetAsideEvent`."""
    now, integration_id = datetime.now(UTC), integration.id or 0
    event = InboxEvent(
        integration_id=integration_id,
        event_key=event_key or f"key-{next(_numbers)}",
        body=body,
        body_digest=sha256(body).digest()[:16],
        received_at=now,
    )
    with transaction() as session:
        session.add(event)
        session.flush()
        event_id = event.id or 0
        if state is InboxState.NEW:
            session.add(NewEvent(event_id=event_id, received_at=now))
        elif state is not InboxState.APPLIED:
            facts = {"detail": "", **aside, "event_id": event_id, "integration_id": integration_id}
            session.add(SetAsideEvent(state=state, set_aside_at=now, **facts))
    return event_id


@dataclass(frozen=True, slots=True)
class Stands:
    """Where an inbox event stands, and why."""

    state: InboxState
    detail: str | None = None
    reference: str | None = None
    order_key: str | None = None


def get_inbox_event(event_id: int) -> Stands:
    """Return where an inbox event stands now."""
    with transaction() as session:
        state, aside = state_of(session, event_id), session.get(SetAsideEvent, event_id)
    return Stands(state, aside.detail, aside.reference, aside.order_key) if aside else Stands(state)


def some_evidence(
    payout: Payout, status: PayoutStatus | None, *, source: Source = Source.WEBHOOK, **facts: Any
) -> Evidence:
    """Return a gateway's word about a payout; `facts` may be any field of the update, its names included."""
    names = {"reference": payout.gateway_reference, "order_key": payout.order_key, "said": str(status)}
    return Evidence(payout.integration_id, PayoutUpdate(**{**names, "status": status, **facts}), source)


def say(payout: Payout, status: PayoutStatus | None, *, source: Source = Source.WEBHOOK, **facts: Any) -> Observed:
    """Let a payout's gateway say `status` about it."""
    with transaction() as session:
        return observe(session, [some_evidence(payout, status, source=source, **facts)], datetime.now(UTC))


def a_balance(
    amount_minor: int = 0,
    *,
    currency: str = "EUR",
    organisation: str = "Acme",
    test_mode: bool = False,
    reserve_minor: int = 0,
    **terms: Any,
) -> Balance:
    """Return a balance with so much on it, of which so much is kept back."""
    an_organisation(organisation)
    by = By("test", "a test needs it", datetime.now(UTC))
    with transaction() as session:
        balance = open_balance(session, organisation, currency, test_mode=test_mode, by=by)
        if amount_minor:
            credit(session, balance.id, amount_minor, by)
        if reserve_minor:
            keep_back(session, balance.id, reserve_minor, by)
        if terms:
            set_terms(session, balance.id, terms, by)
    return get_balance(balance.id)


def a_rate(source: str, target: str, rate: str, expires_at: datetime | None = None) -> None:
    """Have one `source` buy so many `target` from now on."""
    with transaction() as session:
        set_rate(session, source, target, Decimal(rate), By("test", "", datetime.now(UTC)), expires_at)


def a_fee(
    integration: Integration,
    asset: str,
    *,
    percent: str = "0",
    fixed_minor: int = 0,
    network: str = "",
    estimated_seconds: int = 60,
) -> None:
    """Have sending `asset` by this integration cost so much."""
    new = NewFee(
        integration=integration.slug,
        asset=asset,
        network=network,
        percent=Decimal(percent),
        fixed_minor=fixed_minor,
        estimated_seconds=estimated_seconds,
    )
    with transaction() as session:
        set_fee(session, new, By("test", "", datetime.now(UTC)))


def get_balance(balance_id: str) -> Balance:
    """Return a balance as it stands now."""
    with transaction() as session:
        return session.exec(select(Balance).where(Balance.id == balance_id)).one()


def get_entries(balance_id: str) -> list[LedgerEntry]:
    """Return a balance's ledger, in order."""
    with transaction() as session:
        entries = select(LedgerEntry).where(LedgerEntry.balance_id == balance_id)
        return list(session.exec(entries.order_by(col(LedgerEntry.id))))


def get_sums(balance_id: str) -> dict[str, int]:
    """Return what stands on each account of a balance."""
    sums: dict[str, int] = {}
    for entry in get_entries(balance_id):
        sums[entry.account] = sums.get(entry.account, 0) + entry.amount_minor
    return {account: amount for account, amount in sums.items() if amount}
