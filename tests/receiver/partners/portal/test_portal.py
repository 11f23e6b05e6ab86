"""The partner's page: let in once, shown what is theirs, and able to mend it."""

import html
import re
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlmodel import col, select

from models.audit import AuditLine
from models.database import transaction
from models.endpoint import Endpoint
from models.outbox import Delivery, DeliveryState
from models.recovery import Recovery
from models.sealed import seal
from payouts.portal import end
from payouts.sight import EVERYTHING
from receiver.operators.identity import sealed_session
from receiver.partners import limits
from receiver.partners.portal.routes import ROUTES
from receiver.partners.portal.visits import COOKIE
from settings import settings
from tests.factories import an_endpoint
from tests.payouts.missed import STEPS, a_history, an_attempt, close, deliveries
from tests.receiver.operators.browser import Answer
from tests.receiver.partners.portal.visitor import Visitor
from workers.broker import broker

AVisitor = Callable[..., Visitor]
LOOKS = ("/portal", "/portal/endpoints/{endpoint}", "/portal/deliveries/{delivery}")
ACTS = (
    "/portal/endpoints/{endpoint}/ping",
    "/portal/endpoints/{endpoint}/rotate",
    "/portal/endpoints/{endpoint}/recover",
    "/portal/deliveries/{delivery}/redeliver",
)
FIELDS = {"keep_old_hours": "24", "hours": "24"}


@pytest.fixture
def theirs(database: None) -> dict[str, str]:
    """Return the ids of an endpoint and of a delivery of Acme's live side."""
    endpoint = an_endpoint("http://127.0.0.1:9/acme-hooks")
    a_history(*STEPS)
    (dead,) = close("dead", sequence=1)
    an_attempt(dead, answer=b"<script>alert(1)</script>")
    return {"endpoint": endpoint.id, "delivery": dead}


# Coming and going


def test_a_link_shows_a_button_and_the_button_opens_it_once(a_visitor: AVisitor) -> None:
    visitor = a_visitor(enter=False)
    place = f"/portal/enter/{visitor.minted.token}"

    looked = [visitor.get(place) for _ in range(3)]
    assert {answer.status for answer in looked} == {200}
    assert "<button>Open</button>" in looked[0].text
    entered = visitor.post(place, {})

    assert (entered.status, entered.headers["location"]) == (303, "/portal")
    assert visitor.get("/portal").status == 200
    second = a_visitor(enter=False)
    assert second.post(place, {}).status == 410
    assert second.get(place).status == 410
    assert second.get("/portal").status == 403


def test_the_cookie_is_sealed_and_can_be_read_by_no_script_and_sent_by_no_other_site(
    a_visitor: AVisitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    visitor = a_visitor(enter=False)
    with monkeypatch.context() as secure:
        secure.setenv("RATCHET_SECURE_COOKIES", "1")
        settings.cache_clear()
        entered = visitor.post(f"/portal/enter/{visitor.minted.token}", {})
    settings.cache_clear()

    cookie = entered.headers["set-cookie"].lower()
    assert all(word in cookie for word in ("httponly", "samesite=strict", "path=/portal", "secure", "max-age="))
    assert visitor.minted.link.id not in cookie
    assert visitor.minted.token.lower() not in cookie


@pytest.mark.parametrize("link", ["another", "%00", "%C3%A9", "a" * 3_000])
def test_what_is_no_link_opens_nothing(visitor: Visitor, link: str) -> None:
    visitor.cookies.clear()

    assert visitor.get(f"/portal/enter/{link}").status in (404, 410)
    assert visitor.post(f"/portal/enter/{link}", {}).status in (404, 410)
    assert visitor.cookies == {}


def test_leaving_ends_the_visit_for_every_copy_of_its_cookie(visitor: Visitor) -> None:
    copied = visitor.cookies[COOKIE]

    left = visitor.post("/portal/leave", {})

    assert left.status == 200
    assert 'ratchet_portal=""' in left.headers["set-cookie"]
    visitor.cookies[COOKIE] = copied
    assert visitor.get("/portal").status == 403


@pytest.mark.parametrize("path", [*LOOKS, *ACTS, "/portal/leave"])
def test_without_a_visit_nothing_is_shown_and_nothing_done(
    a_visitor: AVisitor, theirs: dict[str, str], path: str
) -> None:
    stranger, ended = a_visitor(enter=False), a_visitor()
    with transaction() as session:
        end(session, EVERYTHING, ended.minted.link.id, actor="x", now=datetime.now(UTC))
    cookies = [
        {},
        dict(ended.cookies),
        {COOKIE: "x"},
        {COOKIE: seal({"link": stranger.minted.link.id, "kind": "portal"}).decode()},  # not opened
        {COOKIE: seal({"link": ended.minted.link.id, "kind": "session"}).decode()},
        {COOKIE: sealed_session("maria")},
        {COOKIE: seal("link").decode()},
    ]
    before = everything()

    for given in cookies:
        stranger.cookies = dict(given)
        answer = ask(stranger, path, theirs)
        assert answer.status == 403
        assert "acme" not in answer.text.lower()
    assert everything() == before


# What is shown


def test_the_first_page_shows_endpoints_and_deliveries(visitor: Visitor, theirs: dict[str, str]) -> None:
    page = visitor.get("/portal").text

    for part in ("Acme", "Live", "127.0.0.1:9", "payout.delivered", "dead", f"/portal/deliveries/{theirs['delivery']}"):
        assert part in page


def test_with_nothing_there_it_says_so(visitor: Visitor) -> None:
    page = visitor.get("/portal").text

    assert "There is no endpoint yet." in page
    assert "Nothing has been sent yet." in page


def test_deliveries_are_filtered_and_come_in_pages(
    visitor: Visitor, theirs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("receiver.partners.portal.views.MOST_SHOWN", 3)

    assert shown(visitor.get("/portal?state=dead")) == [theirs["delivery"]]
    assert shown(visitor.get("/portal?type=payout.failed")) == []
    assert shown(visitor.get("/portal?endpoint=ep_nobody")) == []
    first = visitor.get(f"/portal?endpoint={theirs['endpoint']}&state=no-such")
    (older,) = re.findall(r'href="(/portal\?[^"]*)#deliveries" rel="next"', first.text)
    second = visitor.get(html.unescape(older))
    assert [len(shown(first)), len(shown(second))] == [3, 1]
    assert set(shown(first)) & set(shown(second)) == set()


def test_an_endpoints_page_shows_how_it_fares_and_never_a_secret(visitor: Visitor, theirs: dict[str, str]) -> None:
    page = visitor.get(f"/portal/endpoints/{theirs['endpoint']}").text

    assert "http://127.0.0.1:9/acme-hooks" in page
    assert len(shown_in(page)) == 4
    assert not any(secret in page for secret in secrets(theirs["endpoint"]))


def test_a_deliverys_page_shows_attempts_the_body_and_a_command_and_runs_nothing_of_them(
    visitor: Visitor, theirs: dict[str, str]
) -> None:
    page = visitor.get(f"/portal/deliveries/{theirs['delivery']}").text

    assert "refused 500" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script" not in page
    assert "payout.pending" in page
    assert "WEBHOOK_SECRET" in page
    assert not any(secret in page for secret in secrets(theirs["endpoint"]))


def test_a_page_about_what_has_just_been_sent_looks_again_by_itself(visitor: Visitor, theirs: dict[str, str]) -> None:
    def page(delivery_id: str) -> str:
        return visitor.get(f"/portal/deliveries/{delivery_id}").text

    waiting = next(one.id for one in all_deliveries() if one.state == DeliveryState.OPEN)
    assert 'http-equiv="refresh"' in page(waiting)
    assert 'http-equiv="refresh"' not in page(theirs["delivery"])
    with transaction() as session:
        session.connection().execute(text("UPDATE delivery SET created_at = created_at - interval '1 minute'"))
    assert 'http-equiv="refresh"' not in page(waiting)


# What can be done


def test_a_ping_is_sent_and_its_page_shown(visitor: Visitor, theirs: dict[str, str]) -> None:
    broker.flush_all()

    answer = visitor.post(f"/portal/endpoints/{theirs['endpoint']}/ping", {})

    assert answer.status == 303
    assert "endpoint.ping" in visitor.get(answer.headers["location"]).text
    assert broker.do_qsize("deliver") == 1


def test_a_delivery_is_sent_again_and_its_page_shown(visitor: Visitor, theirs: dict[str, str]) -> None:
    answer = visitor.post(f"/portal/deliveries/{theirs['delivery']}/redeliver", {})

    assert answer.status == 303
    fresh = next(one for one in all_deliveries() if one.redelivery_of)
    assert answer.headers["location"] == f"/portal/deliveries/{fresh.id}"
    assert theirs["delivery"] in visitor.get(answer.headers["location"]).text


def test_a_new_secret_is_shown_once(visitor: Visitor, theirs: dict[str, str]) -> None:
    answer = visitor.post(f"/portal/endpoints/{theirs['endpoint']}/rotate", {"keep_old_hours": "24"})

    live = secrets(theirs["endpoint"])
    assert answer.status == 200
    assert html.escape(live[0]) in answer.text
    assert not any(old in answer.text for old in live[1:])
    assert live[0] not in visitor.get(f"/portal/endpoints/{theirs['endpoint']}").text


def test_a_leaked_secret_ends_at_once(visitor: Visitor, theirs: dict[str, str]) -> None:
    before = secrets(theirs["endpoint"])

    visitor.post(f"/portal/endpoints/{theirs['endpoint']}/rotate", {"keep_old_hours": "0"})

    assert not set(before) & set(secrets(theirs["endpoint"]))


def test_a_recovery_is_begun_and_its_progress_shown(visitor: Visitor, theirs: dict[str, str]) -> None:
    answer = visitor.post(f"/portal/endpoints/{theirs['endpoint']}/recover", {"hours": "24"})

    assert answer.headers["location"] == f"/portal/endpoints/{theirs['endpoint']}"
    assert "<strong>running</strong>, 0 %" in visitor.get(answer.headers["location"]).text
    again = visitor.post(f"/portal/endpoints/{theirs['endpoint']}/recover", {"hours": "24"})
    assert (again.status, "under way" in again.text) == (409, True)


@pytest.mark.parametrize(("act", "fields"), [("rotate", {}), ("rotate", {"keep_old_hours": "999"}), ("recover", {})])
def test_a_form_that_was_made_up_does_nothing(
    visitor: Visitor, theirs: dict[str, str], act: str, fields: dict[str, str]
) -> None:
    before = everything()

    assert visitor.post(f"/portal/endpoints/{theirs['endpoint']}/{act}", fields).status == 422
    assert everything() == before


def test_what_a_visitor_did_is_on_record_under_their_link(visitor: Visitor, theirs: dict[str, str]) -> None:
    for path in ACTS:
        ask(visitor, path, theirs)

    with transaction() as session:
        mine = select(AuditLine).where(AuditLine.actor == f"portal:{visitor.minted.link.id}")
        actions = [line.action for line in session.exec(mine.order_by(col(AuditLine.id)))]
    assert {"endpoint.rotated", "recovery.started", "delivery.redelivered"} <= set(actions)


def test_a_disabled_endpoint_is_sent_nothing_and_the_page_says_why(visitor: Visitor, theirs: dict[str, str]) -> None:
    with transaction() as session:
        session.get_one(Endpoint, theirs["endpoint"]).is_enabled = False

    answer = visitor.post(f"/portal/endpoints/{theirs['endpoint']}/ping", {})

    assert (answer.status, "enable it first" in answer.text) == (409, True)
    assert "disabled" in visitor.get(f"/portal/endpoints/{theirs['endpoint']}").text


# What belongs to others, and what others send


@pytest.mark.parametrize("path", [*LOOKS[1:], *ACTS])
@pytest.mark.parametrize("stranger", [("Globex", False), ("Acme", True)], ids=["another partner", "the other mode"])
def test_another_partners_ids_are_unknown(
    a_visitor: AVisitor, theirs: dict[str, str], path: str, stranger: tuple[str, bool]
) -> None:
    visitor = a_visitor(stranger[0], test_mode=stranger[1])
    before = everything()

    guessed = ask(visitor, path, theirs)
    imagined = ask(visitor, path, dict.fromkeys(theirs, "x" * 32))

    assert guessed.status == imagined.status == 404
    assert guessed.text == imagined.text
    assert everything() == before


@pytest.mark.parametrize("stranger", [("Globex", False), ("Acme", True)], ids=["another partner", "the other mode"])
def test_the_first_page_shows_nothing_of_another_partners_whatever_is_asked_for(
    a_visitor: AVisitor, theirs: dict[str, str], stranger: tuple[str, bool]
) -> None:
    visitor = a_visitor(stranger[0], test_mode=stranger[1])

    for query in ("", f"?endpoint={theirs['endpoint']}", "?state=dead", f"?after={theirs['delivery']}g"):
        page = visitor.get(f"/portal{query}").text
        assert "127.0.0.1:9" not in page
        assert shown_in(page) == []


def test_every_route_that_takes_an_id_is_among_those_tested_above() -> None:
    mounted = {f"/portal{route.path}" for route in ROUTES[1].routes}  # type: ignore[attr-defined]
    with_ids = {re.sub(r"\{(\w+)_id\}", r"{\1}", path) for path in mounted if "_id}" in path}

    assert with_ids == {*LOOKS[1:], *ACTS}


@pytest.mark.parametrize("path", [*ACTS, "/portal/leave"])
@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "", "origin": "https://evil.example"},
        {"sec_fetch_site": "", "origin": "null"},
    ],
    ids=str,
)
def test_a_form_of_another_site_does_nothing(
    visitor: Visitor, theirs: dict[str, str], path: str, headers: dict[str, str]
) -> None:
    before = everything()

    assert visitor.post(path.format(**theirs), FIELDS, **headers).status == 403
    assert everything() == before
    assert visitor.get("/portal").status == 200


def test_a_form_of_another_site_cannot_open_a_link_in_our_visitors_browser(a_visitor: AVisitor) -> None:
    visitor = a_visitor(enter=False)

    answer = visitor.post(f"/portal/enter/{visitor.minted.token}", {}, sec_fetch_site="cross-site")

    assert answer.status == 403
    assert visitor.cookies == {}


@pytest.mark.parametrize("path", ACTS)
def test_following_a_link_does_nothing(visitor: Visitor, theirs: dict[str, str], path: str) -> None:
    before = everything()

    assert visitor.get(path.format(**theirs)).status in (404, 405)
    assert everything() == before


@pytest.mark.parametrize("path", [*LOOKS, "/portal/enter/x", "/portal/nowhere", "/portal/style.css"])
def test_every_answer_is_closed(visitor: Visitor, theirs: dict[str, str], path: str) -> None:
    headers = visitor.get(path.format(**theirs)).headers

    policy = headers["content-security-policy"]
    for part in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "style-src 'self'"):
        assert part in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert (headers["cache-control"], headers["referrer-policy"]) == ("no-store", "same-origin")


def test_pages_have_nothing_inline_that_the_policy_forbids(visitor: Visitor, theirs: dict[str, str]) -> None:
    for path in LOOKS:
        page = visitor.get(path.format(**theirs)).text
        assert not re.search(r"<script|<style|\sstyle=|\son\w+=|javascript:", page)


def test_one_visitor_cannot_ask_without_end(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "quota", lambda: 3)

    answers = [visitor.get("/portal") for _ in range(6)]

    assert answers[-1].status == 429
    assert int(answers[-1].headers["retry-after"]) > 0


# Words for the tests


def ask(visitor: Visitor, path: str, ids: dict[str, str]) -> Answer:
    target = path.format(**ids)
    return visitor.get(target) if path in LOOKS else visitor.post(target, FIELDS)


def shown(answer: Answer) -> list[str]:
    assert answer.status == 200
    return shown_in(answer.text)


def shown_in(page: str) -> list[str]:
    """Return the deliveries that a page lists, in order."""
    return re.findall(r"/portal/deliveries/(dlv_\w+)\"", page)


def secrets(endpoint_id: str) -> tuple[str, ...]:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint_id).secrets().live(datetime.now(UTC))


def all_deliveries() -> list[Delivery]:
    with transaction() as session:
        return list(session.exec(select(Delivery).order_by(col(Delivery.sequence))))


def everything() -> list[object]:
    with transaction() as session:
        found: list[object] = [
            row.model_dump() for table in (Endpoint, Delivery, Recovery) for row in session.exec(select(table))
        ]
    return found


def test_the_words_for_the_tests_tell_a_change(theirs: dict[str, str]) -> None:
    before = everything()
    close("delivered")

    assert everything() != before
    assert len(deliveries(an_endpoint())) == 0
