"""Where a balance pays to: kept sealed in our words, and said in the gateway's when a payout leaves."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlmodel import Session, select

from connectors import connector_class
from connectors._base import Account, Address, Unaddressable, Wish
from models.balance import Balance
from models.integration import Integration
from models.sealed import CannotOpen, seal, unseal
from payouts.integrations import AnyIntegration
from payouts.refused import Refused
from payouts.treasury import By, locked, tell


@dataclass(frozen=True, slots=True)
class Destination:
    """Where to, ready for `NewPayout`."""

    integration: str
    """A slug."""
    mode: str
    details: Mapping[str, Any] = field(repr=False)
    label: str | None


def set_destination(session: Session, balance_id: str, slug: str, wish: Wish, by: By) -> Destination:
    """Have a balance pay to there from now on. Raises `Refused` when the gateway could not be told."""
    balance = locked(session, balance_id)
    integration = session.exec(select(Integration).where(Integration.slug == slug)).one_or_none()
    if integration is None:
        raise Refused("unknown_integration", f"no integration {slug!r}; `ratchet gateways list` shows them")
    if integration.test_mode != balance.test_mode:
        raise Refused("mode_differs", f"{slug} and {balance_id} are not of the same mode")
    address = address_at(integration, wish)
    before = {"destination": balance.destination_label}
    balance.destination_integration_id = integration.id
    balance.destination = seal({**asdict(wish), "details": dict(wish.details)})
    balance.destination_label = f"{slug} {address.label or wish.mode}"
    session.flush()
    tell(session, "balance.destination_changed", balance, before, {"destination": balance.destination_label}, by)
    return Destination(slug, wish.mode, address.details, address.label)


def destination_of(session: Session, balance: Balance) -> Destination:
    """Return where a balance pays to. Raises `Refused`."""
    if balance.destination is None or balance.destination_integration_id is None:
        raise Refused("destination_missing", f"{balance.id} pays to nowhere yet: an operator has to say where to")
    integration = session.get(Integration, balance.destination_integration_id)
    if integration is None:
        raise Refused("destination_invalid", f"the account through which {balance.id} pays is gone")
    try:
        wish = Wish(**unseal(balance.destination))
    except (CannotOpen, TypeError):
        raise Refused("destination_invalid", f"what is kept of where {balance.id} pays cannot be read") from None
    try:
        address = address_at(integration, wish)
    except Refused as refused:
        raise Refused("destination_invalid", str(refused)) from None
    return Destination(integration.slug, wish.mode, address.details, address.label)


def address_at(integration: AnyIntegration, wish: Wish) -> Address:
    """Say a wish in the words of an integration's gateway, which is given no credentials: it only translates.

    Raises `Refused`.
    """
    connector = connector_class(integration.connector)(Account({}, integration.base_url, integration.options))
    if not connector.SUPPORTS_PAYOUTS:
        raise Refused("payouts_unsupported", f"{integration.connector} cannot create payouts")
    try:
        return connector.address(wish)
    except Unaddressable as missing:
        raise Refused("missing_detail", f"{missing.where}: {missing}") from None
