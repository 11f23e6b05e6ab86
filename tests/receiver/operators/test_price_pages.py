"""Rates and fees in a browser: seen, set, replaced; by nobody who has not signed in, and from no other site."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.price import Fee, Rate
from receiver.app import operators
from receiver.operators.identity import COOKIE, sealed_session
from tests.chromium import a_page, needs_chromium
from tests.factories import a_fee, a_rate, an_integration
from tests.receiver.doors import Door, a_server
from tests.receiver.operators.browser import Browser

RATE = {"source": "eur", "target": "xof", "rate": "655.957", "minutes": "", "reason": "fixed <since> 1999"}
FEE = {
    "integration": "main",
    "asset": "usdt",
    "network": "tron",
    "percent": "0.25",
    "fixed": "1.5",
    "seconds": "90",
    "reason": "their price list",
}


def _rates() -> list[Rate]:
    with transaction() as session:
        return list(session.exec(select(Rate).order_by(Rate.id)))


def _fees() -> list[Fee]:
    with transaction() as session:
        return list(session.exec(select(Fee).order_by(Fee.id)))


def _lines() -> list[AuditLine]:
    with transaction() as session:
        return list(session.exec(select(AuditLine).order_by(AuditLine.id)))


def test_a_rate_is_set_shown_and_followed_by_the_next(browser: Browser) -> None:
    first = browser.post("/ops/prices/rates", RATE)
    browser.post("/ops/prices/rates", {**RATE, "rate": "656", "minutes": "60"})

    older, newer = _rates()
    shown = browser.get("/ops/prices").text
    assert (first.status, first.headers["location"]) == (303, "/ops/prices")
    assert (older.source, older.target, older.rate, older.expires_at) == ("EUR", "XOF", Decimal("655.957"), None)
    assert (newer.set_by, newer.expires_at) == ("operator:maria", newer.set_at + timedelta(hours=1))
    assert "656 XOF" in shown
    assert "655.957 XOF" not in shown
    assert "by operator:maria" in shown


def test_a_fee_is_set_shown_and_replaced(browser: Browser) -> None:
    an_integration("zopay", slug="main")
    an_integration("mollie", slug="without-a-price")

    browser.post("/ops/prices/fees", FEE)
    browser.post("/ops/prices/fees", {**FEE, "fixed": "2", "percent": "", "seconds": "120"})

    (fee,) = _fees()
    shown = browser.get("/ops/prices").text
    assert (fee.asset, fee.network, fee.percent, fee.fixed_minor) == ("USDT", "tron", 0, 2_000_000)
    assert "2.000000 USDT" in shown
    assert "120 s" in shown
    assert "no route: <code>without-a-price</code>." in shown


def test_each_act_leaves_a_line_with_the_operators_name_and_what_it_was(browser: Browser) -> None:
    an_integration("zopay", slug="main")
    for form in ({}, {"rate": "656"}):
        browser.post("/ops/prices/rates", {**RATE, **form})
    for form in ({}, {"percent": "0.3"}):
        browser.post("/ops/prices/fees", {**FEE, **form})

    lines = _lines()
    assert [(line.actor, line.action, line.entity) for line in lines] == [
        *[("operator:maria", "rate.set", "rate:EUR/XOF")] * 2,
        *[("operator:maria", "fee.set", "fee:main/USDT/tron")] * 2,
    ]
    assert lines[1].before == {"rate": "655.957"}
    assert lines[1].after == {"rate": "656", "reason": "fixed <since> 1999"}
    assert lines[3].before == {"percent": "0.25", "fixed": "1.500000", "estimated_seconds": 90}


def test_a_link_fills_the_form_with_what_counts_and_brings_no_numbers_along(browser: Browser) -> None:
    integration = an_integration("zopay", slug="main")
    a_rate("EUR", "XOF", "655.957")
    a_fee(integration, "USDT", network="tron", percent="0.25")
    (fee,) = _fees()

    of_a_rate = browser.get("/ops/prices?rate=EUR/XOF").text
    of_a_fee = browser.get(f"/ops/prices?fee={fee.id}").text
    of_nothing = browser.get("/ops/prices?rate=EUR/USD&fee=x&percent=99&source=GBP").text

    assert 'name="rate" value="655.957"' in of_a_rate
    assert 'name="network" value="tron"' in of_a_fee
    assert 'name="percent" value="0.25"' in of_a_fee
    assert 'name="source" value=""' in of_nothing
    assert 'name="percent" value="0"' in of_nothing


def test_a_rate_that_has_run_out_is_shown_as_what_quotes_nothing(browser: Browser) -> None:
    a_rate("EUR", "USD", "1.08", datetime.now(UTC) - timedelta(minutes=1))

    assert "nothing is quoted from it" in browser.get("/ops/prices").text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": "0"}, "above zero"),
        ({"rate": "655,957"}, "decimal number"),
        ({"rate": "1e-2000000"}, "18 decimals"),
        ({"rate": ""}, "decimal number"),
        ({"target": "EUR"}, "between two currencies"),
        ({"target": "ZZZ"}, "unknown currency"),
        ({"source": ""}, "unknown currency"),
        ({"minutes": "7"}, "choose how long"),
        ({"reason": "y" * 501}, "500 characters"),
        ({"reason": "\x00"}, "cannot be seen"),
    ],
)
def test_nonsense_is_no_rate_and_what_was_typed_is_kept(browser: Browser, change: dict[str, str], said: str) -> None:
    answer = browser.post("/ops/prices/rates", {**RATE, "rate": "655.957", **change})

    assert answer.status == 422
    assert "No rate was set" in answer.text
    assert said in answer.text
    assert f'name="rate" value="{change.get("rate", "655.957")}"' in answer.text
    assert _rates() == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"integration": "nobody"}, "no integration"),
        ({"integration": ""}, "no integration"),
        ({"integration": "\x00"}, "cannot be seen"),
        ({"asset": "ZZZ"}, "unknown currency"),
        ({"network": "<b>"}, "one word"),
        ({"percent": "100"}, "below 100"),
        ({"percent": "x"}, "decimal number"),
        ({"fixed": "-1"}, "fixed fee"),
        ({"fixed": "0.0000001"}, "fixed fee"),
        ({"seconds": "0"}, "one second"),
        ({"seconds": "9" * 9}, "31 days"),
        ({"seconds": "9" * 10}, "whole seconds"),
        ({"seconds": "1.5"}, "whole seconds"),
        ({"seconds": "²"}, "whole seconds"),
    ],
)
def test_nonsense_is_no_fee_and_what_was_typed_is_kept(browser: Browser, change: dict[str, str], said: str) -> None:
    an_integration("zopay", slug="main")

    answer = browser.post("/ops/prices/fees", {**FEE, **change})

    assert answer.status == 422
    assert "No fee was set" in answer.text
    assert said in answer.text
    assert "their price list" in answer.text
    assert _fees() == []


def test_an_empty_form_is_explained(browser: Browser) -> None:
    assert browser.post("/ops/prices/rates", {}).status == 422
    assert browser.post("/ops/prices/fees", {}).status == 422


def test_a_stranger_and_another_site_set_nothing(browser: Browser, stranger: Browser) -> None:
    an_integration("zopay", slug="main")
    answers = [
        asked
        for path, form in (("/ops/prices/rates", RATE), ("/ops/prices/fees", FEE))
        for asked in (
            stranger.post(path, form),
            browser.post(path, form, sec_fetch_site="cross-site"),
            browser.post(path, form, sec_fetch_site="", origin="https://evil.example"),
        )
    ]

    assert [answer.status for answer in answers] == [401, 403, 403] * 2
    assert stranger.get("/ops/prices").status == 303
    assert (_rates(), _fees(), _lines()) == ([], [], [])


def test_the_page_holds_nothing_that_the_policy_would_block(browser: Browser) -> None:
    a_rate("EUR", "XOF", "655.957")

    page = browser.get("/ops/prices").text

    assert all(blocked not in page for blocked in ("<script", "<style", " style=", " onclick=", '="http', '="//'))


# --- in a real browser


@pytest.fixture
def door(operator: str) -> Iterator[Door]:
    with a_server(operators()) as running:
        yield running


@needs_chromium
@pytest.mark.timeout(180)
@pytest.mark.parametrize("width", [390, 1280])
def test_both_forms_work_without_a_script_on_a_phone_and_on_a_desk(door: Door, operator: str, width: int) -> None:
    an_integration("zopay", slug="zopay-with-a-rather-long-name-that-has-to-break-somewhere")
    a_rate("EUR", "USD", "1.123456789012345678", datetime.now(UTC) - timedelta(minutes=1))

    with a_page(width=width, runs_scripts=False) as page:
        page.open(door.url("/ops/sign-in"))
        page.driver.add_cookie({"name": COOKIE, "value": sealed_session(operator), "path": "/ops"})
        page.open(door.url("/ops/prices"))
        for name, typed in (("source", "eur"), ("rate", "655.957"), ("target", "xof")):
            page.find(f"form[action$=rates] [name={name}]").send_keys(typed)
        page.click("form[action$=rates] button")
        page.wait_for_text("main", lambda text: "655.957 XOF" in text)
        for name, typed in (("asset", "usdt"), ("network", "tron"), ("seconds", "90")):
            page.find(f"form[action$=fees] [name={name}]").send_keys(typed)
        page.click("form[action$=fees] button")
        page.wait_for_text("main", lambda text: "90 s" in text)
        page.click("a[href*='fee=']")
        refilled = page.find("form[action$=fees] [name=network]").get_attribute("value")
        taken, said = page.width(), page.complaints()

    assert [rate.target for rate in _rates()] == ["USD", "XOF"]
    assert [fee.network for fee in _fees()] == ["tron"]
    assert refilled == "tron"
    assert taken <= width
    assert said == []
