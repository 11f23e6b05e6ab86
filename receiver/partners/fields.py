"""What the bodies about payouts are made of: codes, amounts, names, telephones, people."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Self

import phonenumbers
from iso4217 import Currency
from pydantic import AfterValidator, EmailStr, Field, StringConstraints, ValidationInfo, model_validator

from connectors._base import Wish
from models.money import ASSET_EXPONENTS, InvalidAmount, to_minor
from receiver.partners.shapes import Body


@cache
def currencies() -> tuple[str, ...]:
    """Return every code that has a minor unit."""
    return tuple(sorted({currency.code for currency in Currency if currency.exponent is not None} | {*ASSET_EXPONENTS}))


def _known(code: str) -> str:
    if code not in currencies():
        raise ValueError("Not a currency or an asset that we know")
    return code


CurrencyCode = Annotated[
    str,
    AfterValidator(_known),
    Field(description="ISO 4217, or an asset's code", examples=["XOF"], json_schema_extra={"enum": [*currencies()]}),
]
AmountText = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{1,18}(\.[0-9]{1,9})?$"),
    Field(description="In major units, exact; no more decimals than the currency has", examples=["2500"]),
]
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text without control characters."""
Name = Annotated[Line, Field(min_length=1, max_length=100)]
ModeName = Annotated[
    str,
    StringConstraints(pattern="^[a-z][a-z0-9_]{0,39}$"),
    Field(description="bank_transfer, mobile_money, card, or a word of the gateway's own", examples=["mtn"]),
]
GatewayName = Annotated[
    str,
    StringConstraints(pattern="^[a-z0-9][a-z0-9_-]{0,62}$"),
    Field(description="An account's slug or a gateway's name; without it we choose", examples=["fedapay"]),
]
Id = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_.:-]{1,64}$")]


def amount_of(currency: str) -> Callable[[str, ValidationInfo], str]:
    """Return a validator: more than nothing, and exact in the currency that the field of this name holds."""

    def check(amount: str, given: ValidationInfo) -> str:
        try:
            if currency in given.data and to_minor(amount, given.data[currency]) == 0:
                raise ValueError("Must be more than nothing")
        except InvalidAmount as error:
            raise ValueError(f"{error}".capitalize()) from None
        return amount

    return check


class Phone(Body):
    """A telephone number."""

    number: Annotated[
        str,
        StringConstraints(pattern=r"^\+?[0-9 ().-]{4,30}$"),
        Field(description="As it is dialled there, or with its country's code", examples=["+229 01 66 00 00 01"]),
    ]
    country: Annotated[
        str, StringConstraints(pattern="^[A-Z]{2}$"), Field(description="ISO 3166, two letters", examples=["BJ"])
    ]

    @model_validator(mode="after")
    def _can_be_dialled(self) -> Self:
        self.parsed()
        return self

    def parsed(self) -> phonenumbers.PhoneNumber:
        """Return the number. Raises `ValueError` for one that nobody could have there."""
        try:
            number = phonenumbers.parse(self.number, self.country)
        except phonenumbers.NumberParseException:
            raise ValueError("Not a telephone number of that country") from None
        if not phonenumbers.is_possible_number(number):
            raise ValueError("Too long or too short for a telephone number of that country")
        if self.country not in phonenumbers.region_codes_for_country_code(number.country_code or 0):
            raise ValueError("Its country's code is another country's")
        return number


class Customer(Body):
    """Who gets the money."""

    first_name: Name
    last_name: Name
    email: Annotated[EmailStr, Field(max_length=254, examples=["ada@example.com"])]
    phone: Annotated[Phone | None, Field(description="Where the gateway pays to a telephone, it is needed")] = None


class Told(Body):
    """What every payout may carry along."""

    description: Annotated[Line, Field(max_length=140, description="What the gateway shows, where it shows any")] = ""
    reference: Annotated[
        Line | None, Field(min_length=1, max_length=100, description="Your own name for it; not unique for us")
    ] = None
    metadata: Annotated[
        dict[
            Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_.-]{1,40}$")],
            Annotated[Line, Field(max_length=500)],
        ],
        Field(max_length=20, description="Yours; it comes back in every answer and webhook"),
    ] = Field(default_factory=dict)


def as_wish(mode: str, who: Customer | None, details: Mapping[str, Any]) -> Wish:
    """Return what a connector needs to know."""
    phone = who.phone if who else None
    number = phone.parsed() if phone else None
    return Wish(
        mode=mode,
        first_name=who.first_name if who else "",
        last_name=who.last_name if who else "",
        email=who.email if who else "",
        phone=phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164) if number else None,
        phone_national=phonenumbers.national_significant_number(number) if number else None,
        country=phone.country if phone else None,
        details=details,
    )
