"""The status lattice: the order of payout statuses as data, and `join()`.

A gateway reports late, twice and out of order. If statuses form a join-semilattice and new evidence is
joined rather than assigned, then the status is the least upper bound of everything that was ever said,
whatever the order and however often. This is the only module that knows the order.
"""

from enum import StrEnum
from functools import cache
from typing import Final


class PayoutStatus(StrEnum):
    """Where a payout stands, in the words that partners read."""

    PENDING = "pending"
    SCHEDULED = "scheduled"
    INITIATED = "initiated"
    BROADCAST = "broadcast"
    DELIVERED = "delivered"
    CANCELED = "canceled"
    FAILED = "failed"
    RETURNED = "returned"


_S = PayoutStatus

DIRECTLY_ABOVE: Final[dict[PayoutStatus, frozenset[PayoutStatus]]] = {
    _S.PENDING: frozenset({_S.SCHEDULED}),
    _S.SCHEDULED: frozenset({_S.INITIATED, _S.CANCELED}),
    _S.INITIATED: frozenset({_S.BROADCAST}),
    _S.BROADCAST: frozenset({_S.DELIVERED, _S.FAILED}),
    _S.CANCELED: frozenset({_S.FAILED}),
    _S.DELIVERED: frozenset({_S.RETURNED}),
    _S.FAILED: frozenset({_S.RETURNED}),
    _S.RETURNED: frozenset(),
}
"""The order itself: each status and those directly above it."""

BOTTOM: Final = _S.PENDING
TOP: Final = _S.RETURNED

IN_FLIGHT: Final = frozenset({_S.PENDING, _S.SCHEDULED, _S.INITIATED, _S.BROADCAST})
"""News is expected."""

SETTLED: Final = frozenset(PayoutStatus) - IN_FLIGHT
"""No news is expected, which is not the same as final: only `TOP` can never move again."""


@cache
def at_or_above(status: PayoutStatus) -> frozenset[PayoutStatus]:
    """Return `status` and every status above it."""
    return frozenset({status}).union(*(at_or_above(above) for above in DIRECTLY_ABOVE[status]))


@cache
def join(left: PayoutStatus, right: PayoutStatus) -> PayoutStatus:
    """Return the least status that is above both, or equal to one of them.

    Commutative, associative and idempotent, so shuffled and repeated evidence ends in the same status.
    """
    common = at_or_above(left) & at_or_above(right)
    (least,) = (status for status in common if common <= at_or_above(status))
    return least
