import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError

from models import database as models_database
from models.database import metadata, transaction
from models.inbox import InboxState
from receiver.operators import stuck
from receiver.operators.stuck import COLUMNS
from tests.factories import a_payout, an_inbox_event, an_integration
from tests.receiver.operators.browser import Browser


def some_stuck_payouts(number: int = 1, **columns: object) -> None:
    mollie = an_integration("mollie")
    for _ in range(number):
        a_payout(mollie, advanced_at=datetime.now(UTC) - timedelta(days=9, hours=2), **columns)  # type: ignore[arg-type]


def thousands_of_stuck_payouts(number: int) -> None:
    """Make copies of one."""
    some_stuck_payouts()
    columns = [column.name for column in metadata.tables["payout"].columns if not column.computed]
    own = {"id": "'pay_' || n", "order_key": "'order ' || n", "gateway_reference": "'ref ' || n", "amount_minor": "n"}
    own["tracking_token"] = "'token ' || n"
    values = ", ".join(own.get(column, column) for column in columns)
    copy = f"INSERT INTO payout ({', '.join(columns)}) SELECT {values} FROM payout, generate_series(2, :number) n"  # noqa: S608
    with transaction() as session:
        session.connection().execute(text(copy), {"number": number})


def test_ops_leads_to_the_report(browser: Browser) -> None:
    for target in ("/ops", "/ops/"):
        assert browser.get(target).headers["location"] == "/ops/stuck"


def test_the_page_shows_a_stuck_payout_and_the_totals(browser: Browser) -> None:
    some_stuck_payouts(order_key="INV-417", amount_minor=1_250_000_00)

    page = browser.get("/ops/stuck")

    assert page.status == 200
    for part in (
        "INV-417",
        "1\u202f250\u202f000.00 EUR",
        "9 d 2 h",
        "normal is 5 d",
        "gateway silent",
        "EUR, 1 payout",
    ):
        assert part in page.text


def test_with_nothing_stuck_it_says_so_and_when_it_looked(browser: Browser) -> None:
    page = browser.get("/ops/stuck")

    assert "Nothing is stuck." in page.text
    assert "Last looked at" in page.text


def test_it_shows_so_many_and_says_how_many_more(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stuck, "MOST_SHOWN", 2)
    some_stuck_payouts(5)

    page = browser.get("/ops/stuck")

    assert page.text.count("/ops/payouts/pay_") == 2
    assert "3 more are not" in page.text


def test_integrations_without_a_secret_and_waiting_inbox_events_stand_on_top(browser: Browser) -> None:
    deaf = an_integration(slug="deaf-one", webhook_secrets=())
    an_inbox_event(deaf, b"{}", state=InboxState.POISON)

    page = browser.get("/ops/stuck").text

    assert page.index("deaf-one") < page.index("1 poison") < page.index("<h1>")


def test_what_partners_wrote_is_text_and_never_markup(browser: Browser) -> None:
    some_stuck_payouts(order_key="<script>alert(1)</script>", organisation="<b>Acme</b> & Söhne")

    page = browser.get("/ops/stuck").text

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "&lt;b&gt;Acme" in page


def test_filters_hold_for_page_csv_and_json_alike(browser: Browser) -> None:
    some_stuck_payouts(order_key="wanted", poll_failures=3)
    some_stuck_payouts(order_key="other")
    query = "?reason=polls_failing&gateway=mollie&status=pending&integration="

    page, sheet, document = (browser.get(f"/ops/stuck{suffix}{query}") for suffix in ("", ".csv", ".json"))

    for answer in (page, sheet, document):
        assert "wanted" in answer.text
        assert ">other<" not in answer.text
    assert document.json["totals"]["number"] == 1
    assert '<option value="polls_failing" selected>' in page.text


@pytest.mark.parametrize("query", ["reason=x", "status=stuck", "gateway=nobody", "integration=%00", "reason=%ff"])
def test_a_filter_that_nothing_could_have_is_refused(browser: Browser, query: str) -> None:
    page, document = browser.get(f"/ops/stuck?{query}"), browser.get(f"/ops/stuck.json?{query}")

    assert (page.status, document.status) == (400, 400)
    assert "There is no such" in page.text
    assert document.json["code"] == "invalid_filter"


def test_csv_has_every_row_under_its_name(browser: Browser) -> None:
    some_stuck_payouts(3, amount_minor=250_050)

    answer = browser.get("/ops/stuck.csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))

    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["x-total-count"] == "3"
    assert [(row["amount"], row["currency"]) for row in rows] == [("2500.50", "EUR")] * 3
    assert list(rows[0]) == list(COLUMNS)


def test_csv_and_json_have_every_row_so_that_their_sums_are_right(browser: Browser) -> None:
    thousands_of_stuck_payouts(10_050)

    rows = list(csv.DictReader(io.StringIO(browser.get("/ops/stuck.csv").text)))
    document = browser.get("/ops/stuck.json").json

    total = document["totals"]["by_currency"]["EUR"]
    assert total["number"] == 10_050
    assert sum(Decimal(row["amount"]) for row in rows) == Decimal(total["amount"])
    assert [row["id"] for row in rows] == [payout["id"] for payout in document["stuck"]]
    assert len({row["id"] for row in rows}) == 10_050


@pytest.mark.parametrize("target", ["/ops/stuck.csv", "/ops/stuck.json"])
def test_a_report_that_cannot_be_read_to_its_end_is_never_begun(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    some_stuck_payouts()
    walk = stuck.walk_stuck

    def walk_and_fall(*given: Any) -> Any:
        report, rows = walk(*given)

        def falling() -> Iterator[Any]:
            yield from rows
            raise OperationalError("FETCH", None, Exception("gone"))

        return report, falling()

    monkeypatch.setattr(stuck, "walk_stuck", walk_and_fall)

    assert browser.get(target).status == 503


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_holds_no_formula(browser: Browser, start: str) -> None:
    some_stuck_payouts(order_key=f"{start}cmd|' /C calc'!A0")

    (row,) = csv.DictReader(io.StringIO(browser.get("/ops/stuck.csv").text, newline=""))

    assert row["order_key"] == f"'{start}cmd|' /C calc'!A0"


def test_json_holds_rows_totals_and_when(browser: Browser) -> None:
    some_stuck_payouts(2, amount_minor=99_90)

    document = browser.get("/ops/stuck.json").json

    assert set(document) == {"stuck", "totals", "as_of"}
    assert document["totals"]["by_currency"] == {"EUR": {"number": 2, "amount": "199.80"}}
    assert document["totals"]["by_reason"] == {"gateway_silent": 2}
    assert document["as_of"].endswith("Z")


def test_a_payouts_page_shows_its_evidence(browser: Browser) -> None:
    payout = a_payout(is_disputed=True, dispute="amount_differs")

    page = browser.get(f"/ops/payouts/{payout.id}")

    assert page.status == 200
    assert "amount differs" in page.text
    assert "The gateway has said nothing yet." in page.text


@pytest.mark.parametrize("target", ["/ops/payouts/pay_unknown", "/ops/payouts/\x00", "/ops/nothing"])
def test_an_unknown_page_is_a_page_that_says_so(browser: Browser, target: str) -> None:
    page = browser.get(target)

    assert page.status == 404
    assert "<h1>" in page.text


@pytest.mark.parametrize(
    "target",
    ["/ops", "/ops/sign-in", "/ops/stuck", "/ops/stuck.csv", "/ops/stuck.json?reason=x", "/ops/style.css", "/ops/x"],
)
def test_every_answer_is_closed(browser: Browser, target: str) -> None:
    headers = browser.get(target).headers

    assert headers["content-security-policy"].startswith("default-src 'none'; style-src 'self'; ")
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "same-origin"


def test_pages_hold_nothing_that_the_policy_would_block(browser: Browser) -> None:
    some_stuck_payouts()

    page = browser.get("/ops/stuck").text

    assert all(blocked not in page for blocked in ("<script", "<style", " style=", " onclick=", '="http', '="//'))


@pytest.mark.parametrize("target", ["/ops/stuck", "/ops/stuck.json"])
def test_while_the_database_is_away_it_says_so(browser: Browser, monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    nowhere = create_engine("postgresql+psycopg://nobody@/nothing?host=/nonexistent")

    with monkeypatch.context() as away:
        away.setattr(models_database, "engine", lambda: nowhere)
        answer = browser.get(target)

    assert answer.status == 503
    assert answer.headers["retry-after"] == "5"
    assert "The database does not answer" in answer.text
    assert "psycopg" not in answer.text


def test_the_stylesheet_needs_no_sign_in(stranger: Browser) -> None:
    sheet = stranger.get("/ops/style.css")

    assert (sheet.status, sheet.headers["content-type"]) == (200, "text/css; charset=utf-8")
