"""Magic amounts: whoever tries a payout out steers its fate by the last two digits of its amount.

Only where the behaviour asks for it. Amounts, because they are the one thing that every gateway is told.
"""

from decimal import Decimal
from typing import Final

from sandbox.stories import Plan
from sandbox.zopay_requests import ASSETS

MAGIC: Final = {
    1: "failed",
    2: "returned",
    3: "silent",
    4: "canceled",
    5: "stuck",
    6: "lost",
    7: "refused",
}
"""Any other ending is delivered. `lost`: carried out, and the answer never comes. `refused`: said no to at once."""

WITHOUT_DECIMALS: Final = frozenset({"XOF", "XAF", "GNF", "JPY", "KRW", "RWF", "UGX", "VND"})


def spell(amount: Decimal, currency: str) -> str:
    """Return what the amount asks for."""
    decimals = 0 if currency in WITHOUT_DECIMALS else ASSETS.get(currency, 2)
    return MAGIC.get(int(amount.scaleb(decimals)) % 100, "delivered")


def plan_of(spelled: str) -> Plan:
    """Return the story that belongs to it."""
    is_odd = spelled in {"silent", "lost", "refused"}
    return Plan("delivered" if is_odd else spelled, sends_webhooks=spelled != "silent")
