"""The beneficiary's page: what may be seen and nothing else, without a script and alive with one."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import OperationalError

from models.database import transaction
from models.lifecycle import PayoutStatus
from models.payout import Payout
from models.sealed import seal
from payouts.track import tracked
from receiver.partners import track
from receiver.partners.track import READINGS, ahead
from tests.chromium import a_page, needs_chromium
from tests.concurrency import wait_until
from tests.factories import a_payout, get_payout, say
from tests.receiver.doors import Door
from tests.receiver.partners.partner import Partner

IBAN = "DE02120300000000202051"


@pytest.fixture
def visitor(partners_door: Door, database: None) -> Partner:
    return Partner(partners_door.port, "", {"authorization": ""})


def _away(_: str) -> None:
    raise OperationalError("SELECT", {}, Exception("gone"))


def _path(payout: Payout) -> str:
    return f"/track/{get_payout(payout.id).tracking_token}"


def _page(visitor: Partner, payout: Payout) -> str:
    answer = visitor.get(_path(payout))
    assert answer.status == 200
    return answer.body.decode()


def _words(page: str) -> str:
    """Return the text of a page as it reads."""
    body = re.sub(r"<head>.*?</head>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split())


@pytest.mark.parametrize("status", sorted(PayoutStatus))
def test_every_status_reads_well(visitor: Partner, status: PayoutStatus) -> None:
    payout = a_payout(status=status, amount_minor=125_000_050)

    page = _page(visitor, payout)

    assert f"<h1>{READINGS[status].title}</h1>" in page
    assert "1\N{NARROW NO-BREAK SPACE}250\N{NARROW NO-BREAK SPACE}000.50" in page
    assert page.count('class="ahead"') == len(ahead(status, [PayoutStatus.PENDING, status]))


def test_the_timeline_is_that_of_the_api(visitor: Partner) -> None:
    began = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED, occurred_at=began)
    say(payout, PayoutStatus.DELIVERED, occurred_at=began + timedelta(hours=2))

    with transaction() as session:
        shown = tracked(session, get_payout(payout.id).tracking_token)

    assert shown
    assert [(step.status, step.at) for step in shown.steps][1:] == [
        (PayoutStatus.INITIATED, began),
        (PayoutStatus.DELIVERED, began + timedelta(hours=2)),
    ]
    page = _words(_page(visitor, payout))
    assert re.search("Being prepared.*Under way 2026-05-12 09:15 UTC Delivered 2026-05-12 11:15 UTC", page)


def test_nothing_of_anybody_is_shown_but_where_it_goes_masked(visitor: Partner) -> None:
    payout = a_payout(
        organisation="Klinik Dr. Example",
        order_key="order-of-maria",
        reference="gw-secret-reference",
        description="salary of Maria Example",
        details=seal({"iban": IBAN, "name": "Maria Example"}),
        destination_label="•••• 2051",
        partner_reference="maria-may",
        partner_metadata={"name": "Maria Example"},
    )
    say(payout, PayoutStatus.FAILED, failure_code="wrong_name", failure_message="Maria Example is not Mario")

    page = _page(visitor, payout)

    assert "•••• 2051" in page
    for secret in ("aria", "Klinik", "Example", "order-of", "gw-", IBAN, "DE02", "wrong_name", payout.id, "paycore"):
        assert secret not in page


def test_what_arrived_is_told_where_it_was_less(visitor: Partner) -> None:
    payout = a_payout(amount_minor=10_000)
    say(payout, PayoutStatus.DELIVERED, processed_amount_minor=9_500)

    assert "95.00 EUR arrived" in _words(_page(visitor, payout))


def test_the_expected_time_is_counted_down_to_while_it_is_on_its_way(visitor: Partner) -> None:
    expected = datetime.now(UTC) + timedelta(hours=2, minutes=10, seconds=30)
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED, estimated_delivery_at=expected)

    on_its_way = _words(_page(visitor, payout))
    say(payout, PayoutStatus.DELIVERED)
    arrived = _words(_page(visitor, payout))

    assert "Expected in 2 h 10 min" in on_its_way
    assert f"{expected:%Y-%m-%d %H:%M} UTC" in on_its_way
    assert "Expected" not in arrived


def test_an_expected_time_that_has_passed_is_not_hidden(visitor: Partner) -> None:
    payout = a_payout()
    say(payout, PayoutStatus.BROADCAST, estimated_delivery_at=datetime.now(UTC) - timedelta(minutes=1))

    assert "It takes longer than expected" in _words(_page(visitor, payout))


def test_what_is_expected_is_reckoned_anew_as_it_advances(visitor: Partner) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    payout = a_payout(route_seconds=3 * 3600, submitted_at=long_ago, created_at=long_ago, advanced_at=long_ago)

    late = _words(_page(visitor, payout))
    say(payout, PayoutStatus.INITIATED)
    under_way = _words(_page(visitor, payout))
    say(payout, PayoutStatus.BROADCAST)
    nearly_there = _words(_page(visitor, payout))

    assert "It takes longer than expected" in late
    assert "Expected in 1 h 59 min" in under_way
    assert "Expected in 59 min" in nearly_there


def test_a_test_payout_says_so(visitor: Partner) -> None:
    assert "This is a test" in _page(visitor, a_payout(test_mode=True))
    assert "This is a test" not in _page(visitor, a_payout())


@pytest.mark.parametrize("token", ["0" * 32, "x", "a" * 31, "A" * 32, "0" * 33, "%00", "..", "0" * 32 + "%0a"])
def test_a_link_that_opens_nothing_is_a_page_too(visitor: Partner, token: str) -> None:
    a_payout()

    answer = visitor.get(f"/track/{token}")

    assert answer.status == 404
    assert b"opens no payout" in answer.body
    assert answer.headers["x-robots-tag"] == "noindex, nofollow, noarchive"


def test_two_payouts_have_links_that_share_nothing() -> None:
    tokens = {Payout(**_columns()).tracking_token for _ in range(1_000)}

    assert len(tokens) == 1_000
    assert all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)


def _columns() -> dict[str, object]:
    return {"order_key": "k", "amount_minor": 1, "currency": "EUR"}


def test_the_page_is_closed_and_kept_by_nobody(visitor: Partner) -> None:
    headers = visitor.get(_path(a_payout())).headers

    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-robots-tag"] == "noindex, nofollow, noarchive"
    assert headers["cache-control"] == "private, no-store"
    assert headers["x-content-type-options"] == "nosniff"


def test_the_token_is_in_no_log(visitor: Partner, capfd: pytest.CaptureFixture[str]) -> None:
    payout = a_payout()

    visitor.get(_path(payout))

    said = capfd.readouterr()
    assert get_payout(payout.id).tracking_token not in said.out + said.err


def test_nothing_is_inline_and_its_files_may_be_kept_for_ever(visitor: Partner) -> None:
    page = _page(visitor, a_payout())

    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\bon\w+=", page)
    links = re.findall(r'(?:src|href)="(/track/[^"]+)"', page)
    assert len(links) == 2
    for link in links:
        answer = visitor.get(link)
        assert answer.status == 200
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert visitor.get(link.partition("?")[0]).headers["cache-control"] == "no-cache"


def test_what_has_not_changed_is_not_sent_again(visitor: Partner) -> None:
    payout = a_payout()
    first = visitor.get(_path(payout))
    again = visitor.get(_path(payout), if_none_match=first.headers["etag"])
    say(payout, PayoutStatus.INITIATED)
    changed = visitor.get(_path(payout), if_none_match=first.headers["etag"])

    assert (again.status, again.body) == (304, b"")
    assert changed.status == 200
    assert changed.headers["etag"] != first.headers["etag"]


def test_without_the_database_it_says_so_and_asks_for_patience(
    visitor: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    payout = a_payout()
    monkeypatch.setattr(track, "_read", _away)
    answer = visitor.get(_path(payout))

    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert b"Your money is not affected" in answer.body


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("pending", ["initiated", "broadcast", "delivered"]),
        ("scheduled", ["initiated", "broadcast", "delivered"]),
        ("initiated", ["broadcast", "delivered"]),
        ("broadcast", ["delivered"]),
        ("delivered", []),
        ("canceled", []),
        ("failed", []),
        ("returned", []),
    ],
)
def test_what_is_still_to_come_is_drawn_only_while_something_is(status: str, expected: list[str]) -> None:
    assert ahead(PayoutStatus(status), [PayoutStatus(status)]) == expected


# --- in a real browser


def _url(visitor: Partner, payout: Payout) -> str:
    return f"http://127.0.0.1:{visitor.port}{_path(payout)}"


@needs_chromium
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_it_fits_the_screen_and_the_browser_has_nothing_to_complain_about(
    visitor: Partner, width: int, height: int
) -> None:
    payout = a_payout(status=PayoutStatus.BROADCAST, amount_minor=10**17, destination_label="•••• 2051")

    with a_page(width=width, height=height) as page:
        page.open(_url(visitor, payout))
        page.find(".live")
        taken, said = page.width(), page.complaints()

    assert taken <= width
    assert said == []


@needs_chromium
def test_with_a_script_it_changes_by_itself(visitor: Partner) -> None:
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED, estimated_delivery_at=datetime.now(UTC) + timedelta(seconds=70))

    with a_page(width=390) as page:
        page.open(_url(visitor, payout))
        before, counted = page.read("h1"), page.read("[data-until]")
        wait_until(lambda: page.read("[data-until]") != counted)
        say(payout, PayoutStatus.DELIVERED)
        wait_until(lambda: page.read("h1") != before)
        after, title, steps, said = page.read("h1"), page.driver.title, page.find(".steps").text, page.complaints()

    assert (before, after) == ("Under way", "Delivered")
    assert counted.startswith("Expected in 1 min")
    assert title.startswith("Delivered")
    assert [line for line in steps.splitlines() if line in _TITLES] == ["Being prepared", "Under way", "Delivered"]
    assert said == []


_TITLES = {reading.title for reading in READINGS.values()}


@needs_chromium
def test_without_a_script_it_says_the_same(visitor: Partner) -> None:
    payout = a_payout()
    say(payout, PayoutStatus.INITIATED, estimated_delivery_at=datetime.now(UTC) + timedelta(hours=3, seconds=30))

    with a_page(width=390, runs_scripts=False) as page:
        page.open(_url(visitor, payout))
        shown = page.find("body").text

    for words in ("Under way", "Expected in 3 h", "Being prepared", "UTC", "Delivered"):
        assert words in shown
    assert "kept up to date" not in shown


@needs_chromium
def test_while_the_database_is_away_the_page_stays_as_it_was_and_goes_on_afterwards(
    visitor: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    payout = a_payout(status=PayoutStatus.INITIATED)

    with a_page(width=390) as page:
        page.open(_url(visitor, payout))
        with monkeypatch.context() as patched:
            patched.setattr(track, "_read", _away)
            say(payout, PayoutStatus.DELIVERED)
            page.come_back()
            wait_until(lambda: any("503" in line for line in page.complaints()))
            away = page.read("h1")
        page.come_back()
        wait_until(lambda: page.read("h1") == "Delivered")

    assert away == "Under way"
