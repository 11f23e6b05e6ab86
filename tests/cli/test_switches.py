"""`ratchet switches` and `ratchet payouts cancel` as an operator types them."""

import json
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result

from cli import ratchet
from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout
from payouts.submit import begin
from tests.factories import a_payout, an_integration, an_organisation, get_payout

pytestmark = pytest.mark.usefixtures("database")


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


def _begin(payout: Payout) -> bool:
    with transaction() as session:
        return begin(session, payout.id, datetime.now(UTC)) is not None


def test_a_switch_is_thrown_listed_and_lifted() -> None:
    waiting = a_payout(an_integration("mollie", slug="eu"), reference=None, order_key="k-1")
    on_its_way = a_payout(an_integration("mollie"), reference=None)
    _begin(on_its_way)

    thrown = run("switches", "throw", "gateway", "mollie", "--reason", "pays twice", "--hours", "2")
    switch_id = thrown.stdout.split()[0]
    assert not _begin(waiting)
    listed = json.loads(run("switches", "list", "--json").stdout)
    parked = json.loads(run("switches", "parked", "--json").stdout)
    lifted = run("switches", "lift", switch_id)

    assert thrown.exit_code == lifted.exit_code == 0
    assert "holds gateway mollie, until" in thrown.stdout
    assert "1 payouts are parked" in thrown.stdout
    assert on_its_way.id in thrown.stderr
    assert [(row["id"], row["scope"], row["target"], row["reason"]) for row in listed] == [
        (switch_id, "gateway", "mollie", "pays twice")
    ]
    assert [(row["payout"], row["order_key"], row["amount"], row["switches"]) for row in parked] == [
        (waiting.id, "k-1", "100.00", [switch_id])
    ]
    assert "1 parked payouts go on" in lifted.stdout
    assert run("switches", "list").stdout == "no switch holds\n"
    assert run("switches", "parked").stdout == "nothing is parked\n"
    assert switch_id in run("switches", "list", "--all").stdout


def test_other_switches_that_still_hold_are_told_when_one_is_lifted() -> None:
    first = run("switches", "throw", "everything", "--reason", "one").stdout.split()[0]
    run("switches", "throw", "currency", "EUR", "--reason", "two")

    lifted = run("switches", "lift", first)

    assert "1 other switches still hold" in lifted.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("everything",), "--reason"),
        (("partner", "Nobody", "--reason", "x"), "unknown_target"),
        (("gateway", "--reason", "x"), "target_missing"),
        (("everything", "--reason", "x", "--hours", "0"), "--hours"),
        (("nonsense", "--reason", "x"), "nonsense"),
    ],
)
def test_a_switch_that_would_stop_nothing_is_not_thrown(words: tuple[str, ...], said: str) -> None:
    an_organisation()

    refused = run("switches", "throw", *words)

    assert refused.exit_code != 0
    assert said in refused.output


def test_an_unknown_switch_is_not_lifted() -> None:
    refused = run("switches", "lift", "swi_nothing")

    assert refused.exit_code == 1
    assert "unknown_switch" in refused.output


def test_a_payout_is_called_off_once_and_not_after_it_was_paid() -> None:
    waiting = a_payout(reference=None)
    paid = a_payout(status=PayoutStatus.DELIVERED)

    canceled, refused = run("payouts", "cancel", waiting.id), run("payouts", "cancel", paid.id)

    assert (canceled.exit_code, refused.exit_code) == (0, 1)
    assert get_payout(waiting.id).status == PayoutStatus.CANCELED
    assert "not_cancelable" in refused.output
