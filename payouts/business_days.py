"""Business days: when a currency's banks work, so that a payout of a balance leaves on a day when money moves.

The calendars come from the `holidays` package, which follows central banks, exchanges and states. Which one counts for
a currency is the table below; for the rest it is the country that the code begins with (ISO 4217 builds codes that
way), and where nobody knows a calendar, Monday to Friday. Assets outside ISO 4217 move every day.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Final
from zoneinfo import ZoneInfo

import holidays

from models.money import ASSET_EXPONENTS

OPENS: Final = time(6)
"""Local time. Earlier than any bank's cut-off, so that a payout makes its day."""

LONGEST_BREAK: Final = 31
"""Days. No calendar closes for longer; if one seems to, it is wrong."""


@dataclass(frozen=True, slots=True)
class Calendar:
    """Whose days count."""

    market: str = ""
    """A financial calendar of `holidays`."""
    country: str = ""
    """Or a country's, and its part."""
    subdivision: str | None = None
    zone: str = "UTC"


CALENDARS: Final[dict[str, Calendar]] = {
    "EUR": Calendar(market="ECB", zone="Europe/Berlin"),  # T2, the Eurosystem's TARGET days
    "USD": Calendar(market="FED", zone="America/New_York"),
    "GBP": Calendar(country="GB", subdivision="ENG", zone="Europe/London"),  # CHAPS and Bacs
    "CHF": Calendar(market="SIX", zone="Europe/Zurich"),
    "JPY": Calendar(market="JPX", zone="Asia/Tokyo"),  # with the banks' days around New Year
    "AUD": Calendar(market="ASX", zone="Australia/Sydney"),
    "NZD": Calendar(market="NZX", zone="Pacific/Auckland"),
    "CAD": Calendar(country="CA", zone="America/Toronto"),
    "SEK": Calendar(country="SE", zone="Europe/Stockholm"),
    "NOK": Calendar(country="NO", zone="Europe/Oslo"),
    "DKK": Calendar(country="DK", zone="Europe/Copenhagen"),
    "PLN": Calendar(country="PL", zone="Europe/Warsaw"),
    "CZK": Calendar(country="CZ", zone="Europe/Prague"),
    "HUF": Calendar(country="HU", zone="Europe/Budapest"),
    "RON": Calendar(country="RO", zone="Europe/Bucharest"),
    "TRY": Calendar(country="TR", zone="Europe/Istanbul"),
    "BRL": Calendar(market="B3", zone="America/Sao_Paulo"),
    "MXN": Calendar(market="BMV", zone="America/Mexico_City"),
    "INR": Calendar(country="IN", zone="Asia/Kolkata"),
    "CNY": Calendar(market="SSE", zone="Asia/Shanghai"),
    "HKD": Calendar(market="HKEX", zone="Asia/Hong_Kong"),
    "SGD": Calendar(market="SGX", zone="Asia/Singapore"),
    "KRW": Calendar(market="KRX", zone="Asia/Seoul"),
    "ZAR": Calendar(country="ZA", zone="Africa/Johannesburg"),
    "NGN": Calendar(country="NG", zone="Africa/Lagos"),
    "KES": Calendar(country="KE", zone="Africa/Nairobi"),
    "EGP": Calendar(country="EG", zone="Africa/Cairo"),
    "AED": Calendar(country="AE", zone="Asia/Dubai"),
    "XOF": Calendar(country="SN", zone="Africa/Dakar"),  # the BCEAO sits in Dakar
    "XAF": Calendar(country="CM", zone="Africa/Douala"),  # the BEAC sits in Yaoundé
}


def next_business_day(currency: str, now: datetime) -> date:
    """Return the first business day after today, as today is in the currency's own zone."""
    today = now.astimezone(ZoneInfo(zone_of(currency))).date()
    for ahead in range(1, LONGEST_BREAK + 1):
        if is_business_day(currency, day := today + timedelta(days=ahead)):
            return day
    raise LookupError(f"the calendar of {currency} has no business day after {today}")


def is_business_day(currency: str, day: date) -> bool:
    """Tell whether money moves in this currency on this day."""
    if currency in ASSET_EXPONENTS:
        return True
    closed = _closed(_calendar(currency), day.year)
    return day.weekday() < 5 if closed is None else closed.is_working_day(day)  # noqa: PLR2004 (Saturday)


def opening(currency: str, day: date) -> datetime:
    """Return when a business day begins, in UTC."""
    return datetime.combine(day, OPENS, ZoneInfo(zone_of(currency))).astimezone(UTC)


def zone_of(currency: str) -> str:
    """Return the name of the zone in which its days are counted."""
    return _calendar(currency).zone


def _calendar(currency: str) -> Calendar:
    return CALENDARS.get(currency) or Calendar(country=currency[:2])


@cache
def _closed(calendar: Calendar, year: int) -> holidays.HolidayBase | None:
    """Return one year of a calendar; None where nobody has made one.

    A year at a time, made whole: a calendar that fills itself as it is asked is half empty to the thread that asks
    meanwhile.
    """
    try:
        if calendar.market:
            return holidays.financial_holidays(calendar.market, years=year, expand=False)
        return holidays.country_holidays(calendar.country, subdiv=calendar.subdivision, years=year, expand=False)
    except NotImplementedError:
        return None
