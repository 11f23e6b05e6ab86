"""The books: what is added to the ledger, and when.

Entries are only ever added, whole transactions at a time; the database checks that they sum to zero and adds up the
balance's totals itself (migration 0004, docs/money.md). Locks are taken in one order everywhere: payouts by id, then
balances by id. Whoever has locked a balance waits for no payout that somebody else can see.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from models.balance import Account, EntryKind
from models.database import Quick
from models.ids import new_id
from models.lifecycle import PayoutStatus
from models.rows import IDS, Rows, as_json
from payouts.polling import next_poll_at
from payouts.position import Position
from payouts.standing import Standing
from payouts.stands import STANDS, wanted_position


@dataclass(frozen=True, slots=True)
class Booking:
    """One ledger transaction to be added. Its lines sum to zero."""

    balance_id: str
    kind: EntryKind
    lines: Mapping[Account, int]
    """Minor units into each account; negative is out of it."""
    payout_id: str | None = None
    note: str | None = None
    id: str = field(default_factory=lambda: new_id("ltx"))


def book(session: Session, bookings: Sequence[Booking], now: datetime) -> None:
    """Add transactions, in one statement. Locks the balances, in id order."""
    if bookings:
        _lock(session, {booking.balance_id for booking in bookings})
        rows = [row for booking in bookings for row in _rows(booking)]
        session.connection().execute(_ADD, {"rows": as_json(rows), "now": now})


def hold(session: Session, payout_id: str, balance_id: str, amount_minor: int, now: datetime) -> bool:
    """Hold money for a new payout. False, and nothing is booked, when the balance cannot or may not pay it.

    One statement locks the balance, looks at its newest state, and books: the lock is held from here to the commit and
    no longer, which is what a balance that everybody uses can bear.
    """
    wanted = {"id": new_id("ltx"), "payout": payout_id, "balance": balance_id, "amount": amount_minor, "now": now}
    return _HOLD.run(session, wanted).rowcount > 0


def take_locks(session: Session, standings: Iterable[Standing]) -> None:
    """Lock the balances of these locked payouts now, for a transaction that will call `follow` more than once."""
    if balances := {standing.balance_id for standing in standings if standing.balance_id}:
        _lock(session, balances)


def follow(session: Session, standings: Iterable[Standing], now: datetime) -> None:
    """Bring the books to where locked, written payouts stand now. Free for payouts that no balance pays."""
    ids = [standing.id for standing in standings if standing.balance_id]
    if not ids:
        return
    stands = [_Stand(row) for row in session.connection().execute(_STANDS, {"ids": as_json(ids)})]
    book(session, [stand.booking() for stand in stands if stand.is_elsewhere], now)
    _ask_again(session, [stand for stand in stands if stand.waits_for_a_poll], now)


class _Stand:
    """One payout's money: where it is and where it has to be."""

    def __init__(self, row: Any) -> None:
        self.row = row
        self.old = Position(row.held, row.out, row.fees)
        self.new = wanted_position(row)

    @property
    def is_elsewhere(self) -> bool:
        return self.old != self.new

    @property
    def waits_for_a_poll(self) -> bool:
        """A payout that is said to have come back can be asked about for nothing but its money."""
        return self.row.status == PayoutStatus.RETURNED and self.new.out > 0 and self.row.next_poll_at is None

    def booking(self) -> Booking:
        old, new = self.old, self.new
        lines = {
            Account.AVAILABLE: old.taken - new.taken,
            Account.HELD: new.held - old.held,
            Account.OUT: new.out - old.out,
            Account.FEES: new.fees - old.fees,
        }
        return Booking(self.row.balance_id, self._kind(), lines, payout_id=self.row.id)

    def _kind(self) -> EntryKind:
        if self.new.out > self.old.out:
            return EntryKind.SETTLED
        if self.new.taken < self.old.taken:
            return EntryKind.RETURNED if self.new.out < self.old.out else EntryKind.RELEASED
        return EntryKind.RESUMED


def _lock(session: Session, balance_ids: Iterable[str]) -> None:
    session.connection().execute(_LOCK, {"ids": as_json(sorted(balance_ids))})


def _rows(booking: Booking) -> Iterable[tuple[Any, ...]]:
    """Return rows of `_ADDED`."""
    for account, amount_minor in booking.lines.items():
        if amount_minor:
            yield (
                booking.id, booking.balance_id, account, booking.kind, amount_minor, booking.payout_id, booking.note
            )  # fmt: skip


def _ask_again(session: Session, waiting: Sequence[_Stand], now: datetime) -> None:
    """Poll payouts whose return nobody has confirmed: the lattice needs no more news of them, their money does."""
    for stand in waiting:
        # The schedule of a failure, because that is what is to be confirmed. It ends; then it is a person's.
        at = next_poll_at(PayoutStatus.FAILED, stand.row.poll_step, now)
        session.connection().execute(_ASK, {"id": stand.row.id, "at": at})


_LOCK: Final = text(f"SELECT FROM balance WHERE id = {IDS} ORDER BY id FOR NO KEY UPDATE")

_ADDED: Final = Rows(
    transaction_id="text", balance_id="text", account="text", kind="text", amount_minor="bigint", payout_id="text",
    note="text",
)  # fmt: skip
_ADD: Final = text(
    f"INSERT INTO ledger_entry ({_ADDED.listed}, created_at) SELECT {_ADDED.listed}, :now FROM {_ADDED.table} AS l"  # noqa: S608
)

PAYABLE: Final = """
    b.status = 'active' AND b.payouts_blocked IS NULL AND NOT EXISTS (
        SELECT FROM balance o WHERE o.organisation_id = b.organisation_id AND o.test_mode = b.test_mode
            AND o.balance_minor - o.held_minor - o.reserve_minor < -o.negative_threshold_minor
    )
"""
"""What has to hold of `balance b` beside the money. payouts/balances.py says which part of it does not."""

_HOLD: Final = Quick(
    f"""
    WITH payer AS MATERIALIZED (
        SELECT b.id FROM balance b
        WHERE b.id = :balance AND b.balance_minor - b.held_minor - b.reserve_minor >= :amount AND {PAYABLE}
        FOR NO KEY UPDATE OF b
    )
    INSERT INTO ledger_entry (transaction_id, balance_id, account, kind, amount_minor, payout_id, created_at)
    SELECT :id, payer.id, line.account, 'held', line.amount_minor, :payout, :now
    FROM payer CROSS JOIN (
        VALUES ('available', -CAST(:amount AS bigint)), ('held', CAST(:amount AS bigint))
    ) AS line (account, amount_minor)
    """  # noqa: S608 (our own words)
)

_STANDS: Final = text(f"{STANDS} WHERE p.id = {IDS}")

_ASK: Final = text("UPDATE payout SET next_poll_at = :at WHERE id = :id AND next_poll_at IS NULL")
