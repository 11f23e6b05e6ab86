from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import available_timezones

import holidays
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import ASSET_EXPONENTS, exponent
from payouts.business_days import CALENDARS, Calendar, is_business_day, next_business_day, opening, zone_of
from receiver.partners.fields import currencies
from tests.concurrency import at_once
from tests.laws import IN_MEMORY


@pytest.mark.parametrize(
    ("currency", "now", "expected"),
    [
        ("EUR", "2026-05-12T09:00", "2026-05-13"),  # a Tuesday
        ("EUR", "2026-05-15T09:00", "2026-05-18"),  # over a weekend
        ("EUR", "2026-04-02T09:00", "2026-04-07"),  # over Easter: TARGET is closed on Friday and on Monday
        ("EUR", "2026-12-24T09:00", "2026-12-28"),
        ("EUR", "2026-04-30T09:00", "2026-05-04"),  # 1 May
        ("USD", "2026-04-02T09:00", "2026-04-03"),  # Good Friday is a day like any other to the Fed
        ("USD", "2026-11-25T12:00", "2026-11-27"),  # Thanksgiving
        ("USD", "2026-01-16T12:00", "2026-01-20"),  # Martin Luther King, Jr.
        ("GBP", "2026-12-24T09:00", "2026-12-29"),  # Boxing Day is observed on Monday
        ("AED", "2026-05-15T09:00", "2026-05-18"),
        ("SAR", "2026-05-14T09:00", "2026-05-17"),  # their weekend is Friday and Saturday
        ("XOF", "2026-04-03T09:00", "2026-04-07"),  # Senegal's Easter Monday
        ("GHS", "2026-03-05T09:00", "2026-03-09"),  # by the country in the code: Independence Day and a weekend
        ("BTC", "2026-12-24T09:00", "2026-12-25"),  # a chain never closes
        ("USDT", "2026-05-15T09:00", "2026-05-16"),
        ("XPF", "2026-12-24T09:00", "2026-12-25"),  # nobody has made a calendar: Monday to Friday
    ],
)
def test_the_next_business_day_is_the_currencys(currency: str, now: str, expected: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)

    assert next_business_day(currency, moment) == date.fromisoformat(expected)


def test_today_is_today_in_the_currencys_own_zone() -> None:
    late_on_monday = datetime(2026, 5, 11, 23, 30, tzinfo=UTC)  # Tuesday in Berlin, Monday in New York

    assert next_business_day("EUR", late_on_monday) == date(2026, 5, 13)
    assert next_business_day("USD", late_on_monday) == date(2026, 5, 12)


@pytest.mark.parametrize(
    ("currency", "day", "expected"),
    [("EUR", "2026-01-05", "05:00"), ("EUR", "2026-07-06", "04:00"), ("XOF", "2026-07-06", "06:00")],
)
def test_a_day_begins_at_six_in_its_own_zone_summer_and_winter(currency: str, day: str, expected: str) -> None:
    began = opening(currency, date.fromisoformat(day))

    assert began.isoformat() == f"{day}T{expected}:00+00:00"


@IN_MEMORY
@given(
    st.sampled_from([*CALENDARS, *ASSET_EXPONENTS, "GHS", "XPF", "SAR"]),
    st.datetimes(datetime(2024, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
def test_every_calendar_has_a_next_day_which_begins_later_than_now(currency: str, now: datetime) -> None:
    day = next_business_day(currency, now)

    assert is_business_day(currency, day)
    assert opening(currency, day) > now
    assert day - now.date() < timedelta(days=15)


FEWEST: Final = 3
"""Weekdays a year on which a bank is closed. The Eurosystem's TARGET has as few in 2027; a calendar that has fewer has
run out of years."""


@pytest.mark.parametrize(("currency", "calendar"), CALENDARS.items(), ids=[*CALENDARS])
def test_every_calendar_in_the_table_exists_and_knows_next_year(currency: str, calendar: Calendar) -> None:
    """When it fails because a year has come that the library does not know, the library is to be updated."""
    assert bool(calendar.market) != bool(calendar.country)
    if calendar.market:
        assert calendar.market in holidays.list_supported_financial()
    else:
        assert calendar.country in holidays.list_supported_countries()
        assert calendar.subdivision in (None, *holidays.list_supported_countries()[calendar.country])
    assert calendar.zone in available_timezones()
    for year in (datetime.now(UTC).year, datetime.now(UTC).year + 1):
        days = [date(year, 1, 1) + timedelta(days=n) for n in range(365)]
        weekend = _weekend(days, currency)
        closed = [day for day in days if day.weekday() not in weekend and not is_business_day(currency, day)]
        assert len(closed) >= FEWEST, closed


def _weekend(days: list[date], currency: str) -> set[int]:
    """Return the days of the week on which it never moves."""
    return set(range(7)) - {day.weekday() for day in days if is_business_day(currency, day)}


def test_every_code_of_the_table_is_a_currency() -> None:
    for code in CALENDARS:
        assert exponent(code) >= 0
        assert code not in ASSET_EXPONENTS


@pytest.mark.parametrize("currency", sorted({*currencies()} - {*CALENDARS} - {*ASSET_EXPONENTS}))
def test_any_other_currency_has_the_country_in_its_code_else_monday_to_friday_and_its_day_begins_in_utc(
    currency: str,
) -> None:
    year = datetime.now(UTC).year + 1
    country = currency[:2]
    known = holidays.country_holidays(country, years=year) if country in holidays.list_supported_countries() else None

    for day in (date(year, 1, 1) + timedelta(days=n) for n in range(365)):
        expected = day.weekday() < 5 if known is None else known.is_working_day(day)
        assert is_business_day(currency, day) == expected, day
    assert zone_of(currency) == "UTC"
    assert next_business_day(currency, datetime(year, 12, 31, 23, tzinfo=UTC)).year == year + 1


@pytest.mark.parametrize("asset", ASSET_EXPONENTS)
def test_an_asset_outside_iso_4217_moves_every_day(asset: str) -> None:
    assert all(is_business_day(asset, date(2027, 1, 1) + timedelta(days=n)) for n in range(365))


def test_threads_that_are_first_together_see_the_same_year() -> None:
    christmas = date(2041, 12, 25)  # a year that nobody has asked for yet

    answers = at_once(*[lambda: is_business_day("EUR", christmas)] * 8)

    assert answers == [False] * 8
