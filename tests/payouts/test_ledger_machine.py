"""The ledger under everything that may happen to it, in any order: after each step the books are whole."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from connectors._base import NotFound
from models.balance import OWN
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout, Source, SubmissionState
from payouts.ask import learn, questions
from payouts.books import keep, prove, prove_newest
from payouts.create import NewPayout, Refused, create
from payouts.observe import Evidence, observe
from payouts.payer import Cost
from payouts.standing import lock, write
from payouts.treasury import By, adjust, charge, credit, keep_back
from tests.factories import a_balance, an_integration, get_balance, get_payout, get_sums, some_evidence

BEGINS_WITH = 1_000
"""So that some payouts are paid."""

AMOUNTS = st.integers(1, 500)
WORDS = st.sampled_from(PayoutStatus)
TOLD = st.fixed_dictionaries(
    {
        "processed_amount_minor": st.none() | st.integers(0, 500),
        "occurred_at": st.none() | st.integers(0, 3).map(lambda minute: datetime(2026, 5, 12, 9, minute, tzinfo=UTC)),
    }
)
SOURCES = st.sampled_from([Source.WEBHOOK, Source.WEBHOOK, Source.POLL, Source.OPERATOR])

_numbers = count(1)


class Ledger(RuleBasedStateMachine):
    """One balance, its payouts, and a plain count of what came in and what may not have gone out unseen."""

    payouts = Bundle("payouts")

    def __init__(self) -> None:
        super().__init__()
        number = next(_numbers)
        self.organisation = f"Machine {number}"
        self.balance_id = a_balance(BEGINS_WITH, organisation=self.organisation).id
        self.slug = an_integration(slug=f"machine-{number}").slug
        self.came_in = BEGINS_WITH
        self.prove_whole()

    def _by(self) -> By:
        return By("test", "the machine says so", datetime.now(UTC))

    @rule(amount=AMOUNTS)
    def credit(self, amount: int) -> None:
        with transaction() as session:
            credit(session, self.balance_id, amount, self._by())
        self.came_in += amount

    @rule(amount=AMOUNTS)
    def charge(self, amount: int) -> None:
        with transaction() as session:
            charge(session, self.balance_id, amount, self._by())
        self.came_in -= amount

    @rule(amount=st.integers(-300, 300).filter(bool))
    def adjust(self, amount: int) -> None:
        with transaction() as session:
            adjust(session, self.balance_id, amount, self._by())
        self.came_in += amount

    @rule(amount=st.integers(0, 500))
    def keep_back(self, amount: int) -> None:
        before = get_balance(self.balance_id)
        more = amount - before.reserve_minor
        try:
            with transaction() as session:
                keep_back(session, self.balance_id, amount, self._by())
        except Refused:
            assert more > max(0, before.available_minor)
        else:
            assert more <= max(0, before.available_minor)

    @rule(target=payouts, amount=AMOUNTS, fee=st.integers(0, 20))
    def create(self, amount: int, fee: int) -> MultipleResults[Payout]:
        before = get_balance(self.balance_id)
        new = NewPayout(
            integration=self.slug,
            organisation=self.organisation,
            order_key=str(next(_numbers)),
            amount_minor=amount,
            currency="EUR",
            cost=Cost(amount + fee, fee, "EUR"),
        )
        try:
            with transaction() as session:
                created = create(session, new, datetime.now(UTC))
        except Refused:
            assert before.available_minor < amount + fee
            return multiple()
        assert get_balance(self.balance_id).available_minor == before.available_minor - amount - fee >= 0
        return multiple(get_payout(created.id))

    @rule(payout=payouts, word=WORDS, source=SOURCES, told=TOLD)
    def say(self, payout: Payout, word: PayoutStatus, source: Source, told: dict[str, Any]) -> None:
        self._observe(some_evidence(payout, word, source=source, **told))

    @rule(payout=payouts, told=TOLD)
    def say_after_a_poll_how_much_has_arrived(self, payout: Payout, told: dict[str, Any]) -> None:
        self._observe(some_evidence(payout, PayoutStatus.DELIVERED, source=Source.POLL))
        self._observe(some_evidence(payout, PayoutStatus.DELIVERED, **told))

    def _observe(self, evidence: Evidence) -> None:
        """Nothing that a webhook says gives money back."""
        before = get_balance(self.balance_id).available_minor
        with transaction() as session:
            observe(session, [evidence], datetime.now(UTC))
        assert evidence.source is not Source.WEBHOOK or get_balance(self.balance_id).available_minor <= before

    @rule(payouts=st.lists(payouts, max_size=4), words=st.lists(WORDS, min_size=4, max_size=4))
    def say_together(self, payouts: list[Payout], words: list[PayoutStatus]) -> None:
        told = [some_evidence(payout, word) for payout, word in zip(payouts, words, strict=False)]
        with transaction() as session:
            observe(session, told, datetime.now(UTC))

    @rule(payout=payouts)
    def lose_the_answer_and_find_nothing(self, payout: Payout) -> None:
        with transaction() as session:
            (standing,) = lock(session, [payout.id])
            if standing.submission not in (SubmissionState.UNSENT, SubmissionState.UNKNOWN):
                return
            standing.submission = SubmissionState.UNKNOWN
            write(session, [standing])
            session.get_one(Payout, payout.id).submitted_at = datetime.now(UTC)
        with transaction() as session:
            (question,) = questions(session, [payout.id])
            learn(session, [(question, NotFound())], datetime.now(UTC) + timedelta(days=30))
        assert get_payout(payout.id).submission == SubmissionState.NOT_RECEIVED

    @rule(payout=consumes(payouts), word=WORDS)
    def decide(self, payout: Payout, word: PayoutStatus) -> None:
        """A person opens a new epoch, and says what is so."""
        with transaction() as session:
            row = session.get_one(Payout, payout.id)
            row.epoch, row.status, row.is_disputed, row.dispute = row.epoch + 1, PayoutStatus.PENDING, False, None
            row.next_poll_at, row.quiet_since = datetime.now(UTC), row.advanced_at
            session.flush()
            observe(session, [some_evidence(payout, word, source=Source.OPERATOR)], datetime.now(UTC))

    @rule()
    def prove_whole(self) -> None:
        """Lay a base for the proofs after it."""
        now = datetime.now(UTC) + timedelta(hours=2)
        with transaction() as session:
            proof = prove(session, now)
        with transaction() as session:
            keep(session, proof, now)

    @invariant()
    def the_books_are_whole(self) -> None:
        sums, balance = get_sums(self.balance_id), get_balance(self.balance_id)

        assert sum(sums.values()) == 0
        assert balance.balance_minor == sum(sums.get(account, 0) for account in OWN)
        assert (balance.held_minor, balance.reserve_minor) == (sums.get("held", 0), sums.get("reserve", 0))
        assert balance.available_minor == sums.get("available", 0)
        assert self.came_in == balance.balance_minor + sums.get("out", 0) + self._payout_fees()
        now = datetime.now(UTC) + timedelta(hours=3)
        with transaction() as session:
            whole = prove(session, now)
        with transaction() as session:
            assert prove_newest(session, now) == whole
        assert whole.violations == ()

    def _payout_fees(self) -> int:
        with transaction() as session:
            rows = session.connection().exec_driver_sql(
                "SELECT coalesce(sum(amount_minor), 0)::bigint FROM ledger_entry"
                " WHERE balance_id = %s AND account = 'fees' AND payout_id IS NOT NULL",
                (self.balance_id,),
            )
            return int(rows.scalar_one())


@pytest.mark.usefixtures("database")
def test_whatever_happens_in_whatever_order_the_books_are_whole_after_each_step() -> None:
    run_state_machine_as_test(
        Ledger,
        settings=settings(
            max_examples=15, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
