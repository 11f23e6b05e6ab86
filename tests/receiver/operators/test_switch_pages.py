"""Kill switches in a browser: thrown, seen, lifted; by nobody who has not signed in, and from no other site."""

from datetime import UTC, datetime

import pytest
from sqlmodel import select

from models.audit import AuditLine
from models.database import transaction
from models.switch import Switch
from payouts.submit import begin
from tests.factories import a_payout, an_integration, an_organisation
from tests.receiver.operators.browser import Browser

FORM = {"scope": "everything", "target": "", "hours": "", "reason": "the gateway <b>pays</b> twice"}


def _switches() -> list[Switch]:
    with transaction() as session:
        return list(session.exec(select(Switch).order_by(Switch.id)))


def test_a_switch_is_thrown_shown_with_what_it_holds_and_lifted(browser: Browser) -> None:
    waiting = a_payout(an_integration("mollie", slug="eu"), reference=None, order_key="tx-1:1")
    on_its_way = a_payout(reference=None)
    with transaction() as session:
        begin(session, on_its_way.id, datetime.now(UTC))

    thrown = browser.post("/ops/switches", FORM)
    (switch,) = _switches()
    shown = browser.get("/ops/switches").text
    warned = browser.get("/ops/stuck").text
    lifted = browser.post(f"/ops/switches/{switch.id}/lift", {})
    afterwards = browser.get("/ops/switches").text

    assert (thrown.status, thrown.headers["location"]) == (303, "/ops/switches")
    assert (switch.scope, switch.thrown_by, switch.reason, switch.until) == (
        "everything",
        "operator:maria",
        "the gateway <b>pays</b> twice",
        None,
    )
    assert "the gateway &lt;b&gt;pays&lt;/b&gt; twice" in shown
    assert on_its_way.id in shown
    assert f"/ops/payouts/{waiting.id}" in shown
    assert "1 payout" in shown
    assert "Payouts are switched off" in warned
    assert lifted.status == 303
    assert "Nothing is switched off" in afterwards
    assert "lifted by operator:maria" in afterwards
    assert "Payouts are switched off" not in browser.get("/ops/stuck").text


def test_each_act_leaves_a_line_with_the_operators_name(browser: Browser) -> None:
    browser.post("/ops/switches", FORM)
    (switch,) = _switches()
    browser.post(f"/ops/switches/{switch.id}/lift", {})

    with transaction() as session:
        lines = session.exec(select(AuditLine).order_by(AuditLine.id)).all()
    assert [(line.actor, line.action, line.entity) for line in lines] == [
        ("operator:maria", "switch.thrown", switch.id),
        ("operator:maria", "switch.lifted", switch.id),
    ]


def test_a_partner_is_shown_by_name_and_an_end_by_its_time(browser: Browser) -> None:
    acme = an_organisation("Acme & Söhne")

    browser.post("/ops/switches", {**FORM, "scope": "partner", "target": "Acme & Söhne", "hours": "4"})

    (switch,) = _switches()
    assert switch.target == acme.id
    assert switch.until is not None
    shown = browser.get("/ops/switches").text
    assert "partner <code>Acme &amp; Söhne</code>" in shown
    assert f"{switch.until:%Y-%m-%d %H:%M}" in shown


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"scope": "gateway", "target": "molie"}, "would stop nothing"),
        ({"scope": "gateway"}, "say which gateway"),
        ({"scope": "nonsense"}, "choose what"),
        ({"hours": "1000"}, "choose what"),
        ({"reason": "  "}, "say why"),
    ],
)
def test_a_switch_that_would_stop_nothing_is_explained_and_what_was_typed_is_kept(
    browser: Browser, change: dict[str, str], said: str
) -> None:
    answer = browser.post("/ops/switches", {**FORM, "reason": "typed reason", **change})

    assert answer.status == 422
    assert said in answer.text
    assert change.get("reason", "typed reason") in answer.text
    assert _switches() == []


def test_a_stranger_and_another_site_throw_and_lift_nothing(browser: Browser, stranger: Browser) -> None:
    browser.post("/ops/switches", FORM)
    (switch,) = _switches()

    lift = f"/ops/switches/{switch.id}/lift"
    answers = [
        stranger.post("/ops/switches", FORM),
        stranger.post(lift, {}),
        browser.post("/ops/switches", FORM, sec_fetch_site="cross-site"),
        browser.post(lift, {}, sec_fetch_site="cross-site"),
        browser.post(lift, {}, sec_fetch_site="", origin="https://evil.example"),
    ]

    assert [answer.status for answer in answers] == [401, 401, 403, 403, 403]
    assert stranger.get("/ops/switches").status == 303
    assert [(each.id, each.lifted_at) for each in _switches()] == [(switch.id, None)]


def test_lifting_what_is_lifted_or_unknown_is_refused(browser: Browser) -> None:
    browser.post("/ops/switches", FORM)
    (switch,) = _switches()
    browser.post(f"/ops/switches/{switch.id}/lift", {})

    again = browser.post(f"/ops/switches/{switch.id}/lift", {})
    unknown = browser.post("/ops/switches/swi_nothing/lift", {})

    assert (again.status, unknown.status) == (409, 409)
    assert "already_lifted" in again.text
    assert "unknown_switch" in unknown.text
