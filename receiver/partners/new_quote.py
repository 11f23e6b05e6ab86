"""The body of POST /v1/payouts/quote."""

from typing import Annotated, Any, Final, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from connectors._base import Wish
from models.money import ASSET_EXPONENTS
from receiver.partners.fields import AmountText, CurrencyCode, Customer, GatewayName, ModeName, amount_of, as_wish
from receiver.partners.shapes import Body

ON_CHAIN: Final = "crypto"
BY_BANK: Final = "bank_transfer"


class NewQuote(Body):
    """What is to be priced."""

    asset: Annotated[CurrencyCode, Field(description="What you send", examples=["EUR"])]
    amount: Annotated[AmountText, Field(description="How much of it you send, fees included")]
    currency: Annotated[
        CurrencyCode | None, Field(description="What arrives; without it the asset itself", examples=["XOF"])
    ] = None
    destination: Annotated[
        str | None,
        StringConstraints(pattern="^[!-~]{1,128}$"),
        Field(description="An address, an account or a card, as the gateway writes it", repr=False),
    ] = None
    beneficiary: Annotated[Customer | None, Field(description="Who gets it, where the gateway pays to a person")] = None
    mode: Annotated[
        ModeName | None, Field(description="Without it bank_transfer, and crypto for an asset that is no currency")
    ] = None
    network: Annotated[
        str | None,
        StringConstraints(pattern="^[a-z0-9][a-z0-9_-]{0,39}$"),
        Field(description="A hint: only by this network", examples=["tron"]),
    ] = None
    gateway: Annotated[GatewayName | None, Field(description="A hint: only by this account or gateway")] = None
    details: Annotated[
        dict[str, Any],
        Field(max_length=20, description="What the gateway needs beyond that, in its own words", repr=False),
    ] = Field(default_factory=dict)

    _amount = field_validator("amount")(amount_of("asset"))

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if self.destination is None and self.beneficiary is None:
            raise ValueError("Say where it goes: destination, beneficiary, or both")
        return self

    def wish(self) -> Wish:
        """Return what a connector needs to know."""
        mode = self.mode or (ON_CHAIN if self.asset in ASSET_EXPONENTS else BY_BANK)
        where = {} if self.destination is None else {"destination": self.destination}
        return as_wish(mode, self.beneficiary, {**self.details, **where})


TO_AN_ADDRESS: Final = {
    "asset": "USDT",
    "amount": "100",
    "destination": "TXhqLmQ3b1eYxS5oMDv9uRkWc2fPz7aGnB",
    "network": "tron",
    "details": {"external_ref": "user-1"},
}
TO_A_PERSON: Final = {
    "asset": "EUR",
    "amount": "100.00",
    "currency": "XOF",
    "mode": "mtn",
    "beneficiary": {
        "first_name": "Ada",
        "last_name": "Mensah",
        "email": "ada@example.com",
        "phone": {"number": "+229 01 66 00 00 01", "country": "BJ"},
    },
}
"""Examples, for the document and its page."""
