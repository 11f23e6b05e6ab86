from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.money import exponent, to_text
from models.price import Fee
from payouts.prices import NewFee, list_fees, list_rates, plain, price, rate_for, set_fee, set_rate
from payouts.refused import Refused
from payouts.treasury import By
from tests.concurrency import at_once
from tests.factories import a_fee, a_rate, an_integration
from tests.laws import IN_MEMORY

pytestmark = pytest.mark.usefixtures("database")

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
BY = By("cli:ada", "the bank's rate of the day", NOW)

RATES = st.decimals("0.000000000000000001", "100000", places=18)
PERCENTS = st.decimals("0", "99.999999", places=6)


def _fee(percent: str | Decimal, fixed_minor: int) -> Fee:
    return Fee(
        integration_id=1,
        asset="EUR",
        percent=Decimal(percent),
        fixed_minor=fixed_minor,
        estimated_seconds=1,
        updated_at=NOW,
    )


@pytest.mark.parametrize(
    ("send", "percent", "fixed", "fees", "get"),
    [
        (10_000, "0", 0, [], 10_000),
        (10_000, "0.5", 30, [("service", 50), ("network", 30)], 9_920),
        (9_999, "0.5", 0, [("service", 50)], 9_949),  # 49.995 is rounded up
        (1, "0.000001", 0, [("service", 1)], 0),
        (100, "0", 250, [("network", 250)], -150),
    ],
)
def test_each_part_of_the_fee_is_rounded_up(
    send: int, percent: str, fixed: int, fees: list[tuple[str, int]], get: int
) -> None:
    found = price(send, "EUR", _fee(percent, fixed), "EUR", None)

    assert [(item.code, item.amount_minor) for item in found.items] == fees
    assert (found.get_minor, found.fee_minor) == (get, sum(amount for _, amount in fees))


@pytest.mark.parametrize(
    ("send", "currency", "rate", "get"),
    [
        (10_000, "XOF", "655.957", 65_595),  # 100.00 EUR; 65595.7 is rounded down
        (10_000, "USD", "1.0842", 10_842),
        (1, "XOF", "655.957", 6),
        (10_000, "BTC", "0.0000098765", 98_765),
    ],
)
def test_what_arrives_is_rounded_down_to_what_its_currency_has(send: int, currency: str, rate: str, get: int) -> None:
    assert price(send, "EUR", _fee("0", 0), currency, Decimal(rate)).get_minor == get


@IN_MEMORY
@given(
    st.integers(1, 10**18),
    PERCENTS,
    st.integers(0, 10**6),
    st.sampled_from(["EUR", "XOF", "BTC", "KWD"]),
    st.none() | RATES,
)
def test_never_more_is_promised_than_was_paid_for_and_never_a_unit_less_than_that(
    send: int, percent: Decimal, fixed: int, currency: str, rate: Decimal | None
) -> None:
    found = price(send, "EUR", _fee(percent, fixed), currency, rate)

    fee = Fraction(send) * Fraction(percent) / 100
    assert 0 <= found.fee_minor - fixed - fee < 1
    assert found.send_minor - found.fee_minor == send - found.fee_minor
    exact = Fraction(send - found.fee_minor)
    if rate is not None:
        exact *= Fraction(rate) * Fraction(10) ** (exponent(currency) - exponent("EUR"))
    assert 0 <= exact - found.get_minor < 1


def test_the_newest_rate_counts_and_the_older_ones_are_kept() -> None:
    a_rate("EUR", "XOF", "655")
    a_rate("EUR", "XOF", "655.957")
    a_rate("EUR", "USD", "1.08")

    with transaction() as session:
        found = rate_for(session, "EUR", "XOF", NOW)
        listed = [(row.source, row.target, str(row.rate.normalize())) for row in list_rates(session)]

    assert found == Decimal("655.957")
    assert listed == [("EUR", "USD", "1.08"), ("EUR", "XOF", "655.957")]


def test_between_a_currency_and_itself_there_is_none() -> None:
    with transaction() as session:
        assert rate_for(session, "EUR", "EUR", NOW) is None


def test_a_rate_is_never_turned_around() -> None:
    a_rate("EUR", "USD", "1.08")

    with transaction() as session, pytest.raises(Refused) as refused:
        rate_for(session, "USD", "EUR", NOW)

    assert refused.value.code == "rate_missing"


def test_a_feed_that_has_died_quotes_nothing() -> None:
    a_rate("EUR", "USD", "1.07")
    a_rate("EUR", "USD", "1.08", expires_at=NOW + timedelta(minutes=5))

    with transaction() as session:
        assert rate_for(session, "EUR", "USD", NOW) == Decimal("1.08")
        with pytest.raises(Refused) as refused:
            rate_for(session, "EUR", "USD", NOW + timedelta(minutes=5))

    assert refused.value.code == "rate_expired"


@pytest.mark.parametrize(
    ("source", "target", "rate", "code"),
    [
        ("EUR", "EUR", "1", "invalid_rate"),
        ("EUR", "USD", "0", "invalid_rate"),
        ("EUR", "USD", "-1", "invalid_rate"),
        ("EUR", "USD", "NaN", "invalid_rate"),
        ("EUR", "USD", "Infinity", "invalid_rate"),
        ("EUR", "USD", "1E+20", "invalid_rate"),
        ("EUR", "USD", "1.0000000000000000001", "invalid_rate"),
        ("EUR", "USD", "1." + "0" * 120 + "1", "invalid_rate"),
        ("EUR", "USD", "1E-2000000", "invalid_rate"),
        ("EUR", "USD", "1E+2000000", "invalid_rate"),
        ("EUR", "ZZZ", "1", "unknown_currency"),
    ],
)
def test_nonsense_is_no_rate(source: str, target: str, rate: str, code: str) -> None:
    with transaction() as session, pytest.raises(Refused) as refused:
        set_rate(session, source, target, Decimal(rate), BY)

    assert refused.value.code == code


def test_who_set_it_and_what_it_was_is_on_record() -> None:
    a_rate("EUR", "USD", "1.07")

    with transaction() as session:
        set_rate(session, "EUR", "USD", Decimal("1.08"), BY)

    with transaction() as session:
        line = session.exec(select(AuditLine).where(AuditLine.actor == BY.actor)).one()
    assert (line.action, line.entity) == ("rate.set", "rate:EUR/USD")
    assert line.before is not None
    assert Decimal(line.before["rate"]) == Decimal("1.07")
    assert line.after == {"rate": "1.08", "reason": BY.reason}


def test_a_fee_is_set_anew_and_what_it_was_is_on_record() -> None:
    integration = an_integration(slug="main")
    a_fee(integration, "EUR", percent="0.5", fixed_minor=30)

    a_fee(integration, "EUR", percent="0.7", fixed_minor=25, estimated_seconds=90)

    with transaction() as session:
        ((fee, slug),) = list_fees(session)
        lines = session.exec(select(AuditLine).where(AuditLine.action == "fee.set").order_by("id")).all()
    assert (slug, fee.percent, fee.fixed_minor, fee.estimated_seconds) == ("main", Decimal("0.7"), 25, 90)
    assert lines[0].before is None
    assert lines[1].before == {"percent": "0.5", "fixed": "0.30", "estimated_seconds": 60}


def test_a_rate_as_long_as_its_column_comes_back_to_the_last_digit() -> None:
    longest = "12345678901234567890.123456789012345678"
    a_rate("EUR", "USD", longest)

    with transaction() as session:
        assert [plain(row.rate) for row in list_rates(session)] == [longest]


@pytest.mark.parametrize(("number", "text"), [("100", "100"), ("1E+2", "100"), ("0.500000", "0.5"), ("0", "0")])
def test_numbers_are_shown_plainly(number: str, text: str) -> None:
    assert plain(Decimal(number)) == text


def test_two_who_set_the_same_fee_at_once_both_have_set_it() -> None:
    integration = an_integration()

    at_once(*[lambda fixed=fixed: a_fee(integration, "EUR", fixed_minor=fixed) for fixed in range(8)])

    with transaction() as session:
        ((fee, _),) = list_fees(session)
        lines = session.exec(select(AuditLine).where(AuditLine.action == "fee.set").order_by("id")).all()
    assert len(lines) == 8
    assert sum(line.before is None for line in lines) == 1
    assert lines[-1].after["fixed"] == to_text(fee.fixed_minor, "EUR")


def test_a_reason_has_an_end() -> None:
    with transaction() as session, pytest.raises(Refused) as refused:
        set_rate(session, "EUR", "USD", Decimal(1), By("cli:ada", "x" * 501, NOW))

    assert refused.value.code == "reason_too_long"


def test_each_network_has_its_own() -> None:
    integration = an_integration()
    a_fee(integration, "USDT", network="tron", fixed_minor=1_000_000)
    a_fee(integration, "USDT", network="ethereum", fixed_minor=9_000_000)

    with transaction() as session:
        assert [fee.network for fee, _ in list_fees(session)] == ["ethereum", "tron"]


@pytest.mark.parametrize(
    ("terms", "code"),
    [
        ({"integration": "nobody"}, "unknown_integration"),
        ({"asset": "ZZZ"}, "unknown_currency"),
        ({"percent": Decimal(100)}, "invalid_fee"),
        ({"percent": Decimal(-1)}, "invalid_fee"),
        ({"percent": Decimal("NaN")}, "invalid_fee"),
        ({"percent": Decimal("0.0000001")}, "invalid_fee"),
        ({"percent": Decimal("1E-2000000")}, "invalid_fee"),
        ({"percent": Decimal("99." + "9" * 120)}, "invalid_fee"),
        ({"fixed_minor": -1}, "invalid_fee"),
        ({"estimated_seconds": 0}, "invalid_fee"),
        ({"estimated_seconds": 10**10}, "invalid_fee"),
        ({"network": "Tron "}, "invalid_fee"),
        ({"network": "tr\x00n"}, "invalid_fee"),
    ],
)
def test_nonsense_is_no_fee(terms: dict[str, object], code: str) -> None:
    an_integration(slug="main")
    usual = {"integration": "main", "asset": "EUR", "percent": Decimal(1), "fixed_minor": 0, "estimated_seconds": 1}

    with transaction() as session, pytest.raises(Refused) as refused:
        set_fee(session, NewFee(**{**usual, **terms}), BY)

    assert refused.value.code == code
