"""What connectors that only listen share: amounts in minor units, keys that travel in metadata, reads by reference."""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from urllib.parse import quote

from connectors._base import GatewayUnavailable, UnreadableEvent
from connectors._json import MAX_DIGITS, Fields
from models.money import InvalidAmount, exponent


def minor_units(
    fields: Fields, name: str, currency: str | None, decimals: Mapping[str, int] = MappingProxyType({})
) -> int | None:
    """Return an amount that the gateway writes as an integer in minor units, None where there is none.

    `decimals` holds the currencies whose minor unit is another one at this gateway than in ISO 4217.
    """
    found = fields.values.get(name)
    if found is None:
        return None
    is_digits = isinstance(found, str) and found.isascii() and found.isdecimal() and len(found) <= MAX_DIGITS
    if currency is None or not (is_digits or type(found) is int):
        raise UnreadableEvent(f"{fields.at(name)} is no amount")
    try:
        places = decimals.get(currency, exponent(currency))
    except InvalidAmount:
        raise UnreadableEvent(f"{fields.at(name)} is no amount") from None
    return Fields({name: Decimal(found).scaleb(-places)}, fields.path).amount(name, currency)


def currency_of(fields: Fields, name: str) -> str | None:
    """Return a currency or asset code, which some gateways write in lower case."""
    code = fields.maybe_text(name)
    return code.upper() if code else None


def metadata_key(fields: Fields, name: str) -> str | None:
    """Return our own key, kept under `name` in the metadata of a payout that was made elsewhere."""
    metadata = fields.maybe_within("metadata")
    return metadata.maybe_text(name) if metadata else None


def path_id(reference: str | None) -> str:
    """Return a reference as one segment of a URL.

    Raises `GatewayUnavailable` without one: the gateway finds a payout by its own id only, so nothing can be learnt.
    """
    if reference is None:
        raise GatewayUnavailable("no reference yet, and the gateway finds a payout by its own id only")
    return quote(reference, safe="")
