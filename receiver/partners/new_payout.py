"""The bodies of POST /v1/payouts: exactly one of the ways in which a payout can be asked for."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, RootModel, Tag, field_validator

from connectors._base import Wish
from receiver.partners.fields import (
    AmountText,
    CurrencyCode,
    Customer,
    GatewayName,
    Id,
    ModeName,
    Told,
    amount_of,
    as_wish,
)
from receiver.partners.shapes import WAY, Moment

LATEST: Final = timedelta(days=366)
"""How far ahead a payout may be scheduled."""
CLOCKS_APART: Final = timedelta(minutes=5)
"""A time that has just passed is now; an older one is a mistake."""


class NewDirectPayout(Told):
    """An amount to a person."""

    currency: CurrencyCode
    amount: AmountText
    customer: Customer
    mode: ModeName
    gateway: GatewayName | None = None
    details: Annotated[
        dict[str, Any],
        Field(max_length=20, description="What the gateway needs beyond the customer, in its own words", repr=False),
    ] = Field(default_factory=dict)
    scheduled_at: Annotated[Moment | None, Field(description="When it is to leave; without it at once")] = None

    _amount = field_validator("amount")(amount_of("currency"))

    @field_validator("scheduled_at")
    @classmethod
    def _is_ahead(cls, moment: datetime | None) -> datetime | None:
        now = datetime.now(UTC)
        if moment is not None and not now - CLOCKS_APART <= moment <= now + LATEST:
            raise ValueError(f"Must be between now and {LATEST.days} days ahead")
        return moment

    def wish(self) -> Wish:
        """Return what a connector needs to know."""
        return as_wish(self.mode, self.customer, self.details)


class QuotedPayout(Told):
    """What was quoted, at the price that was quoted."""

    quote_id: Annotated[Id, Field(examples=["quo_019a3c4e5f607182a1b2c3d4e5f6"])]


class NewBalancePayout(Told):
    """An amount of a balance, or everything available above its reserve, on its next business day."""

    balance_id: Annotated[Id, Field(examples=["bal_019a3c4e5f607182a1b2c3d4e5f6"])]
    amount: Annotated[AmountText | None, Field(description="Null or left out: everything above the reserve")] = None


def _way(asked: Any) -> str:
    """Tell which way is meant, by the one member that only it has. What does not belong there is then refused."""
    names = asked if isinstance(asked, dict) else {}
    way = "quote" if "quote_id" in names else "balance" if "balance_id" in names else "direct"
    return WAY + way


class NewPayout(
    RootModel[
        Annotated[
            Annotated[NewDirectPayout, Tag(f"{WAY}direct")]
            | Annotated[QuotedPayout, Tag(f"{WAY}quote")]
            | Annotated[NewBalancePayout, Tag(f"{WAY}balance")],
            Discriminator(_way),
        ]
    ]
):
    """Exactly one of: a direct payout, a quote, a balance."""


BY_TELEPHONE: Final = {
    "currency": "XOF",
    "amount": "2500",
    "customer": {
        "first_name": "Ada",
        "last_name": "Mensah",
        "email": "ada@example.com",
        "phone": {"number": "+229 01 66 00 00 01", "country": "BJ"},
    },
    "mode": "mtn",
    "gateway": "fedapay",
    "reference": "invoice 4711",
    "metadata": {"batch": "2026-05"},
}
OF_A_QUOTE: Final = {"quote_id": "quo_019a3c4e5f607182a1b2c3d4e5f6", "reference": "invoice 4712"}
OF_A_BALANCE: Final = {"balance_id": "bal_019a3c4e5f607182a1b2c3d4e5f6", "amount": "250.00", "description": "May"}
"""Examples, for the document and its page."""
