"""Routes for a quote: every account and network that has a price and that no guard refuses, and how long each takes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from connectors._base import Address, Wish
from models.integration import Integration
from models.money import MAX_AMOUNT_MINOR
from models.organisation import Organisation
from models.price import Fee
from payouts.create import NewPayout, guard
from payouts.destinations import address_at
from payouts.prices import Price, price
from payouts.refused import Refused

ENOUGH_SEEN: Final = 20
"""Deliveries, before what was seen counts for more than what an operator has estimated."""

_HINT: Final = "network_hint"
"""The detail that tells a gateway which network to take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """What is to be carried."""

    organisation: Organisation
    test_mode: bool
    asset: str
    send_minor: int
    currency: str
    rate: Decimal | None
    wish: Wish = field(repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """One way to carry it."""

    integration_id: int
    integration: str
    """A slug."""
    gateway: str
    network: str
    estimated_seconds: int
    price: Price
    address: Address = field(repr=False)

    @property
    def rank(self) -> tuple[int, int, str, str]:
        """Order routes: what arrives, then how soon, then by name, so that equals always come in the same order."""
        return (-self.price.get_minor, self.estimated_seconds, self.integration, self.network)


def routes(session: Session, errand: Errand, now: datetime) -> tuple[list[Route], dict[str, Refused]]:
    """Return the routes, the best first, and why the other accounts are none."""
    wanted = (
        select(Fee, Integration)
        .where(col(Integration.id) == Fee.integration_id, Fee.asset == errand.asset, col(Integration.is_active))
        .where(Integration.test_mode == errand.test_mode)
        .order_by(col(Fee.id))
    )
    found: list[Route] = []
    refused: dict[str, Refused] = {}
    seen = _seen_seconds(session)
    for fee, integration in session.exec(wanted).all():
        try:
            found.append(_route(session, errand, fee, integration, seen, now))
        except Refused as no:
            refused[integration.slug] = no
    return sorted(found, key=lambda route: route.rank), refused


def matching(found: Sequence[Route], gateway: str | None, network: str | None) -> list[Route]:
    """Return the routes that a partner's hints leave. A gateway is an account's slug or the gateway's name."""
    return [
        route
        for route in found
        if (gateway is None or gateway in (route.integration, route.gateway)) and network in (None, route.network)
    ]


def _route(
    session: Session,
    errand: Errand,
    fee: Fee,
    integration: Integration,
    seen: Mapping[tuple[int, str], int],
    now: datetime,
) -> Route:
    new = NewPayout(
        integration=integration.slug,
        organisation=errand.organisation.name,
        order_key=None,
        amount_minor=errand.send_minor,
        currency=errand.currency,
        test_mode=errand.test_mode,
    )
    guard(session, integration, new, errand.organisation.id, now)
    costs = price(errand.send_minor, errand.asset, fee, errand.currency, errand.rate)
    if costs.get_minor <= 0:
        raise Refused("amount_too_small", "the fee would eat it up")
    if costs.get_minor > MAX_AMOUNT_MINOR:
        raise Refused("amount_too_large", "more would arrive than anybody can keep")
    address = address_at(integration, _on(errand.wish, fee.network))
    seconds = seen.get((fee.integration_id, fee.network), fee.estimated_seconds)
    route = (fee.integration_id, integration.slug, integration.connector, fee.network, seconds)
    return Route(*route, price=costs, address=address)


def _on(wish: Wish, network: str) -> Wish:
    """Tell the gateway which network the price is for. What is meant for another one must not go by this one."""
    if wish.details.get(_HINT) not in (None, network):
        raise Refused("network_differs", "the details name another network")
    details = {name: detail for name, detail in wish.details.items() if name != _HINT}
    return replace(wish, details={**details, **({_HINT: network} if network else {})})


def _seen_seconds(session: Session) -> dict[tuple[int, str], int]:
    """Return how long deliveries took of late, by integration and network: the median of enough of them."""
    rows = session.connection().execute(_SEEN, {"enough": ENOUGH_SEEN})
    return {(row.integration_id, row.network): max(1, round(row.seconds)) for row in rows}


_SEEN: Final = text(
    """
    SELECT p.integration_id, coalesce(q.network, '') AS network,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM p.advanced_at - p.submitted_at)) AS seconds
    FROM (SELECT * FROM payout ORDER BY id DESC LIMIT 1000) p LEFT JOIN quote q ON q.id = p.quote_id
    WHERE p.status = 'delivered' AND p.submitted_at IS NOT NULL
    GROUP BY 1, 2 HAVING count(*) >= :enough
    """
)
