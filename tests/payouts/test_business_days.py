from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.money import ASSET_EXPONENTS
from payouts.business_days import CALENDARS, is_business_day, next_business_day, opening
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


@pytest.mark.parametrize("calendar", CALENDARS.values(), ids=list(CALENDARS))
def test_every_calendar_in_the_table_exists(calendar: object) -> None:
    currency = next(code for code, found in CALENDARS.items() if found is calendar)

    ZoneInfo(CALENDARS[currency].zone)
    holidays = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    weekdays = [day for day in holidays if day.weekday() < 4 and not is_business_day(currency, day)]
    assert weekdays, "a calendar without a single holiday is no calendar"


def test_threads_that_are_first_together_see_the_same_year() -> None:
    christmas = date(2041, 12, 25)  # a year that nobody has asked for yet

    answers = at_once(*[lambda: is_business_day("EUR", christmas)] * 8)

    assert answers == [False] * 8
