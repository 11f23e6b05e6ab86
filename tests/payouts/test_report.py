from datetime import UTC, datetime, timedelta

import pytest

from models.lifecycle import PayoutStatus
from payouts.reasons import StuckReason
from payouts.report import Filters, amount_text
from tests.factories import a_payout, an_integration
from tests.payouts.silent import a_silent_payout, change, stuck

pytestmark = pytest.mark.usefixtures("database")


def test_the_oldest_comes_first_and_then_the_largest() -> None:
    now = datetime.now(UTC)
    for name, days, amount_minor in (("c", 30, 5), ("a", 40, 1), ("b", 30, 900)):
        a_payout(order_key=name, amount_minor=amount_minor, advanced_at=now - timedelta(days=days))

    assert [payout.order_key for payout in stuck().stuck] == ["a", "b", "c"]


def test_totals_are_over_everything_and_not_over_what_is_shown() -> None:
    mollie, fedapay = an_integration("mollie"), an_integration("fedapay")
    for _ in range(3):
        a_silent_payout(mollie, amount_minor=10_050)
    a_silent_payout(fedapay, amount_minor=2_000, currency="XOF", poll_failures=4)

    report = stuck(limit=2)

    assert len(report.stuck) == 2
    assert report.total == 4
    assert report.by_reason == {StuckReason.POLLS_FAILING: 1, StuckReason.GATEWAY_SLOW: 3}
    assert report.by_gateway == {"mollie": 3, "fedapay": 1}
    assert report.by_currency == {"EUR": (3, "301.50"), "XOF": (1, "2000")}
    assert stuck(limit=0).total == 4


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (Filters(gateway="mollie"), {"m-1", "m-2"}),
        (Filters(integration="fedapay-bj"), {"f-1"}),
        (Filters(status=PayoutStatus.INITIATED), {"m-2"}),
        (Filters(reason=StuckReason.POLLS_FAILING), {"m-1", "f-1"}),
        (Filters(gateway="mollie", reason=StuckReason.POLLS_FAILING), {"m-1"}),
        (Filters(gateway="paycore"), set()),
    ],
)
def test_filters_narrow_rows_and_totals_alike(filters: Filters, expected: set[str]) -> None:
    mollie, fedapay = an_integration("mollie"), an_integration("fedapay", slug="fedapay-bj")
    a_silent_payout(mollie, order_key="m-1", poll_failures=3)
    a_silent_payout(mollie, order_key="m-2", status=PayoutStatus.INITIATED)
    a_silent_payout(fedapay, order_key="f-1", poll_failures=3)

    report = stuck(filters)

    assert {payout.order_key for payout in report.stuck} == expected
    assert report.total == len(expected)


def test_payouts_of_a_connector_that_is_gone_stay_on_the_report() -> None:
    a_silent_payout(an_integration("mollie"))
    change("UPDATE integration SET connector = 'gone'")

    assert stuck().by_gateway == {"gone": 1}


def test_a_document_holds_decimal_text_and_utc_times() -> None:
    a_silent_payout(an_integration("mollie", slug="mollie-eu"), amount_minor=123_456, order_key="INV-1")

    report = stuck()

    row, summary = report.stuck[0].document(), report.summary()
    assert (row["order_key"], row["amount"], row["currency"]) == ("INV-1", "1234.56", "EUR")
    assert row["stuck_since"].endswith("Z")
    assert row["threshold_seconds"] == 5 * 86_400
    assert summary["as_of"].endswith("Z")
    assert summary["totals"]["by_currency"] == {"EUR": {"number": 1, "amount": "1234.56"}}


def test_a_currency_that_nobody_defines_does_not_hide_the_report() -> None:
    assert amount_text(1_234, "ZZZ") == "1234 minor"


def test_every_reason_has_a_meaning_in_one_line() -> None:
    assert all(reason.meaning.endswith(".") and len(reason.meaning) <= 100 for reason in StuckReason)
