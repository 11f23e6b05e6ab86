"""What a caller asks of ZoPay, read strictly, and what a quote answers."""

import hashlib
import re
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Decimal
from typing import Any, Final

from sandbox.answers import Document, Refused
from sandbox.world import iso

ASSETS: Final = {"USDT": 6, "USDC": 6, "XAUT": 6}
"""Decimals of the assets that can be paid."""
FEE: Final = Decimal("0.80")
MEANS: Final = Decimal(1_000_000)
"""What the partner has. A quote above it says how much is needed; it is no error."""
UNKNOWN_USER: Final = "unknown-"
"""What an `external_ref` begins with that nobody has registered."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A well-formed POST /payouts/quote."""

    external_ref: str
    destination: str
    asset: str
    amount: Decimal
    written: str
    """The amount as it was written."""

    @property
    def fingerprint(self) -> str:
        """Return what makes two wishes the same."""
        return f"{self.external_ref}\x1f{self.destination}\x1f{self.asset}\x1f{self.written}"

    @property
    def is_beyond_means(self) -> bool:
        """Tell whether there are not enough funds."""
        return self.amount > MEANS


@dataclass(slots=True)
class Quote:
    """An offer that was made."""

    quote_id: str
    wish: Wish
    expires_at: float
    reference: str = field(default="")
    """The payout that it has led to."""

    def document(self) -> Document:
        """Return the offer as the API prints it."""
        needed = {"needed": f"{self.wish.amount - MEANS:f}", "asset": self.wish.asset}
        short = {**needed, "network_with_lowest_top_up_fee": "tron"} if self.wish.is_beyond_means else None
        return {
            **shown_quote(self),
            "expires_at": iso(self.expires_at),
            "recommendation": None,
            "insufficient_funds": short,
        }


def shown_quote(quote: Quote) -> Document:
    """Return the part of an offer that its payout repeats."""
    return {
        "quote_id": quote.quote_id,
        "user_sends": quote.wish.written,
        "recipient_gets": f"{max(quote.wish.amount - FEE, Decimal(0)):f}",
        "fee_total_usd": f"{FEE:f}",
        "route": {"from_network": "tron", "to_network": "tron", "estimated_seconds": 90},
    }


def read_quote(body: Any) -> Wish:
    """Read the body of a quote call. Raises `Refused`."""
    if not isinstance(body, dict):
        raise Refused(400, "The request body must be an object")
    external_ref = _text(body, "external_ref", 1, 255)
    if external_ref.startswith(UNKNOWN_USER):
        raise Refused(404, "The external_ref is not known", "external_ref_unknown")
    asset = _text(body, "asset", 2, 16).upper()
    if asset not in ASSETS:
        raise Refused(422, "The asset cannot be paid", "asset_unsupported")
    written = body.get("amount")
    if not isinstance(written, str) or not re.fullmatch(r"\d{1,15}(\.\d{1,18})?", written, re.ASCII):
        raise Refused(422, "The amount must be a decimal string", "invalid_amount")
    amount = Decimal(written)
    if not amount or amount != amount.quantize(Decimal(1).scaleb(-ASSETS[asset]), ROUND_DOWN):
        raise Refused(422, "The amount is zero or too precise", "invalid_amount")
    return Wish(external_ref, _text(body, "destination", 1, 128), asset, amount, written)


def _text(body: Document, name: str, shortest: int, longest: int) -> str:
    text = body.get(name)
    if not isinstance(text, str) or not shortest <= len(text) <= longest:
        raise Refused(422, f"{name} must be text of {shortest} to {longest} characters", f"invalid_{name}")
    return text


def digest(text: str) -> str:
    """Return an id that depends on nothing but the text."""
    return hashlib.sha256(text.encode()).hexdigest()[:20]
