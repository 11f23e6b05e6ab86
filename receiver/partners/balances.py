"""/v1/balances: what a partner has with us, and what was booked."""

from typing import Annotated, Final

from pydantic import Field
from sqlmodel import col, select

from models.api_key import Scope
from models.balance import Account, Balance, BalanceStatus, EntryKind, Frequency
from models.money import to_text
from payouts.statements import Statement, statements
from receiver.partners.operation import Call, Operation, operation
from receiver.partners.refusals import Refusal
from receiver.partners.shapes import Moment, Page, PageQuery, Shown
from receiver.partners.sight import page_of


class BalanceShown(Shown):
    """A balance."""

    id: Annotated[str, Field(examples=["bal_019a3c4e5f607182a1b2c3d4e5f6"])]
    currency: str
    status: BalanceStatus
    available: Annotated[str, Field(description="What can be paid out now; below zero, it is owed", examples=["70.00"])]
    held: Annotated[str, Field(description="Spoken for by payouts whose fate is open")]
    reserve: Annotated[str, Field(description="Kept back")]
    balance: Annotated[str, Field(description="All three")]
    negative_threshold: Annotated[str, Field(description="Further below zero, nothing of yours is paid out")]
    payouts_blocked: Annotated[str | None, Field(description="Why nothing may leave it")]
    queued_refunds: int
    transfer_frequency: Annotated[Frequency, Field(description="How often it pays out by itself")]
    next_transfer_at: Moment | None
    destination: Annotated[str | None, Field(description="What may be shown of where it pays to")]
    test_mode: bool
    created_at: Moment


class LineShown(Shown):
    """One line of a transaction."""

    account: Account
    amount: Annotated[str, Field(description="Into the account; negative is out of it", examples=["-30.00"])]


class EntryShown(Shown):
    """One transaction of the ledger. Its lines sum to zero."""

    id: Annotated[str, Field(examples=["ltx_019a3c4e5f607182a1b2c3d4e5f6"])]
    kind: EntryKind
    payout_id: str | None
    lines: list[LineShown]
    created_at: Moment


@operation("GET", "/v1/balances", scope=Scope.PAYOUTS_READ, tag="balances", summary="List balances")
def list_balances(call: Call, query: PageQuery) -> Page[BalanceShown]:
    """Newest first; one for each currency."""
    wanted = select(Balance).where(
        Balance.organisation_id == call.caller.organisation_id, Balance.test_mode == call.caller.test_mode
    )
    if query.after:
        wanted = wanted.where(col(Balance.id) < query.after)
    found = call.session.exec(wanted.order_by(col(Balance.id).desc()).limit(query.limit + 1)).all()
    return page_of(found, query, _shown)


@operation(
    "GET",
    "/v1/balances/{balance_id}",
    scope=Scope.PAYOUTS_READ,
    tag="balances",
    summary="Get a balance",
    refusals=("unknown_balance",),
)
def get_balance(call: Call, balance_id: str) -> BalanceShown:
    """What is there, what is spoken for, and whether it may be paid out."""
    return _shown(find(call, balance_id))


@operation(
    "GET",
    "/v1/balances/{balance_id}/entries",
    scope=Scope.PAYOUTS_READ,
    tag="balances",
    summary="List a balance's ledger",
    refusals=("unknown_balance",),
)
def list_entries(call: Call, balance_id: str, query: PageQuery) -> Page[EntryShown]:
    """Every transaction that was booked, newest first. Nothing in it ever changes."""
    balance = find(call, balance_id)
    found = statements(call.session, balance.id, query.after, query.limit + 1)
    return page_of(found, query, lambda statement: _entry(statement, balance.currency))


def find(call: Call, balance_id: str) -> Balance:
    """Return the caller's balance. Another organisation's, or one of the other mode, is as unknown as none."""
    wanted = select(Balance).where(
        Balance.id == balance_id,
        Balance.organisation_id == call.caller.organisation_id,
        Balance.test_mode == call.caller.test_mode,
    )
    balance = call.session.exec(wanted).one_or_none()
    if balance is None:
        raise Refusal("unknown_balance", "there is none of this id that this key may see")
    return balance


def _shown(balance: Balance) -> BalanceShown:
    def words(amount_minor: int) -> str:
        return to_text(amount_minor, balance.currency)

    return BalanceShown(
        id=balance.id,
        currency=balance.currency,
        status=BalanceStatus(balance.status),
        available=words(balance.available_minor),
        held=words(balance.held_minor),
        reserve=words(balance.reserve_minor),
        balance=words(balance.balance_minor),
        negative_threshold=words(balance.negative_threshold_minor),
        payouts_blocked=balance.payouts_blocked,
        queued_refunds=balance.queued_refunds,
        transfer_frequency=Frequency(balance.transfer_frequency),
        next_transfer_at=balance.next_transfer_at,
        destination=balance.destination_label,
        test_mode=balance.test_mode,
        created_at=balance.created_at,
    )


def _entry(statement: Statement, currency: str) -> EntryShown:
    return EntryShown(
        id=statement.id,
        kind=statement.kind,
        payout_id=statement.payout_id,
        lines=[LineShown(account=account, amount=to_text(amount, currency)) for account, amount in statement.lines],
        created_at=statement.created_at,
    )


OPERATIONS: Final[list[Operation]] = [list_balances, get_balance, list_entries]
