"""Balances from the terminal: opened, credited with a reason, kept back, paid out, proven."""

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text
from sqlmodel import select

from cli import ratchet
from models.audit import AuditLine
from models.balance import Frequency
from models.database import transaction
from models.payout import Payout
from tests.factories import a_balance, a_payout, an_integration, an_organisation, get_balance

pytestmark = pytest.mark.usefixtures("database")

DETAILS = json.dumps({"fields": {"iban": "DE02120300000000202051"}})


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


def _opened(*more: str) -> str:
    an_organisation()
    return run("balances", "open", "Acme", "EUR", *more).stdout.strip()


def _shown(balance_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(run("balances", "show", balance_id, "--json").stdout)
    return shown


def _audited(action: str) -> list[AuditLine]:
    with transaction() as session:
        return list(session.exec(select(AuditLine).where(AuditLine.action == action)))


def test_a_balance_is_of_the_test_mode_unless_it_is_said_to_be_live() -> None:
    test, live = _opened(), _opened("--live")

    assert (get_balance(test).test_mode, get_balance(live).test_mode) == (True, False)
    assert [line.entity for line in _audited("balance.opened")] == [test, live]
    assert _audited("balance.opened")[0].actor.startswith("cli:")


def test_a_second_balance_in_the_same_currency_is_refused() -> None:
    _opened()

    again = run("balances", "open", "Acme", "eur")

    assert again.exit_code == 1
    assert "balance_exists" in again.output


def test_a_credit_needs_a_reason_and_is_in_the_ledger_and_in_the_audit_trail() -> None:
    balance = _opened()

    without = run("balances", "credit", balance, "250.00")
    empty = run("balances", "credit", balance, "250.00", "--reason", " ")
    credited = run("balances", "credit", balance, "250.00", "--reason", "wire 4711")

    assert (without.exit_code, empty.exit_code, credited.exit_code) == (2, 1, 0)
    assert "250.00 EUR available" in credited.output
    shown = _shown(balance)
    assert (shown["available"], shown["balance"]) == ("250.00", "250.00")
    entries = {(entry["account"], entry["amount"], entry["note"]) for entry in shown["entries"]}
    assert entries == {("available", "250.00", "wire 4711"), ("funding", "-250.00", "wire 4711")}
    (line,) = _audited("balance.credited")
    assert line.after == {"available": "250.00", "currency": "EUR", "reason": "wire 4711"}


@pytest.mark.parametrize("amount", ["0", "-5", "1.234", "much", "1e3"])
def test_an_amount_is_exact_and_more_than_nothing(amount: str) -> None:
    balance = _opened()

    assert run("balances", "credit", balance, "--reason", "x", "--", amount).exit_code != 0
    assert _shown(balance)["entries"] == []


def test_charges_and_corrections_may_go_below_zero_and_reserves_may_not() -> None:
    balance = a_balance(10_000).id

    assert run("balances", "reserve", balance, "40.00", "--reason", "risk").exit_code == 0
    assert "insufficient_funds" in run("balances", "reserve", balance, "100.01", "--reason", "risk").output
    assert run("balances", "charge", balance, "70.00", "--reason", "monthly").exit_code == 0
    assert run("balances", "adjust", balance, "5.00", "--take", "--reason", "chargeback").exit_code == 0
    assert run("balances", "adjust", balance, "1.00", "--give", "--reason", "a mistake").exit_code == 0

    shown = _shown(balance)
    assert (shown["available"], shown["reserve"], shown["balance"]) == ("-14.00", "40.00", "26.00")


def test_terms_are_changed_with_what_they_were_on_record() -> None:
    balance = a_balance(10_000).id

    changed = run(
        "balances", "set", balance, "--inactive", "--block", "looked into", "--threshold", "50.00",
        "--queued-refunds", "3", "--frequency", "weekly", "--reason", "risk",
    )  # fmt: skip

    assert changed.exit_code == 0, changed.output
    now = get_balance(balance)
    assert (now.status, now.payouts_blocked, now.negative_threshold_minor) == ("inactive", "looked into", 5_000)
    assert (now.queued_refunds, now.transfer_frequency) == (3, Frequency.WEEKLY)
    assert now.next_transfer_at is not None
    lines = _audited("balance.changed")
    assert {name: value for line in lines for name, value in (line.before or {}).items()} == {
        "status": "active",
        "payouts_blocked": None,
        "negative_threshold_minor": 0,
        "queued_refunds": 0,
        "transfer_frequency": "never",
        "next_transfer_at": None,
    }
    assert run("balances", "set", balance, "--unblock", "--active").exit_code == 0
    assert get_balance(balance).payouts_blocked is None


def test_a_wish_to_change_nothing_is_refused() -> None:
    assert run("balances", "set", a_balance().id).exit_code == 2


def test_a_balance_is_told_where_to_pay_and_pays() -> None:
    balance = a_balance(10_000, reserve_minor=1_000).id
    slug = an_integration().slug

    told = run("balances", "destination", balance, slug, "--mode", "payment_card", "--details", DETAILS)
    paid = run("balances", "pay", balance, "--description", "May")

    assert told.exit_code == 0, told.output
    assert "•••• 2051" in told.output
    assert "DE02" not in told.output + run("balances", "show", balance).output
    assert _audited("balance.destination_changed")[0].before == {"destination": None}
    assert "DE02" not in str(_audited("balance.destination_changed")[0].after)
    with transaction() as session:
        payout = session.get_one(Payout, paid.stdout.strip())
    assert (payout.amount_minor, payout.status, payout.description) == (9_000, "scheduled", "May")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["pay"], "destination_missing"),
        (["pay", "100.01"], "insufficient_funds"),
        (["destination", "nobody"], "unknown_integration"),
        (["destination", "stripe-1"], "payouts_unsupported"),
        (["destination", "paycore-1"], "missing_detail"),
        (["destination", "paycore-1", "--details", "[]"], "must be a JSON object"),
        (["destination", "paycore-1", "--details", "{"], "not JSON"),
        (["destination", "paycore-1", "--details", f'{{"id": {2**64}}}'], "more than 64 bits"),
        (["destination", "paycore-1", "--details", '{"name": "\\ud800"}'], "half a character"),
        (["destination", "paycore-1", "--phone", "abc"], "--phone"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(words: list[str], said: str) -> None:
    an_integration("stripe", slug="stripe-1")
    paycore = an_integration(slug="paycore-1")
    balance = a_balance(10_000).id
    if said == "insufficient_funds":
        run("balances", "destination", balance, paycore.slug, "--details", DETAILS)

    result = run("balances", words[0], balance, *words[1:])

    assert result.exit_code != 0
    assert said in result.output


def test_the_list_shows_every_balance_and_a_stranger_is_unknown() -> None:
    a_balance(10_000)
    a_balance(2_000, currency="XOF", organisation="Other")

    listed = json.loads(run("balances", "list", "--json").stdout)

    assert [(row["organisation"], row["available"], row["currency"]) for row in listed] == [
        ("Acme", "100.00", "EUR"),
        ("Other", "2000", "XOF"),
    ]
    assert "available" in run("balances", "list").output
    assert run("balances", "show", "bal_no").exit_code == 1
    assert "unknown_balance" in run("balances", "credit", "bal_no", "1", "--reason", "x").output


def test_the_books_are_proven_on_request() -> None:
    balance = a_balance(10_000)
    a_payout(amount_minor=100)
    assert run("balances", "prove").output == "the books agree\n"

    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))
        session.connection().execute(text("UPDATE balance SET held_minor = 5"))
    proven = run("balances", "prove")

    assert proven.exit_code == 1
    assert balance.id in proven.output
    assert "the books do not agree" in proven.output
    assert len(json.loads(run("balances", "prove", "--json").stdout)["violations"]) == 1
