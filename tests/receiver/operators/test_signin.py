import json
import time
from base64 import b64encode

import pytest
from sqlalchemy import text

from models import sealed
from models.database import transaction
from models.sealed import seal
from receiver.operators.guesses import MOST_TRIES
from receiver.operators.identity import COOKIE
from receiver.operators.signin import HOME, safe_next
from settings import settings
from tests.receiver.operators.browser import HOST, Answer, Browser

NAME = "maria"
PASSWORD = "correct horse battery"


def sign_in(browser: Browser, password: str = PASSWORD, name: str = NAME, **more: str) -> Answer:
    return browser.post(
        "/ops/sign-in", {"name": name, "password": password, "next": "/ops/stuck?reason=disputed"}, **more
    )


def basic(name: str = NAME, password: str = PASSWORD) -> str:
    return "Basic " + b64encode(f"{name}:{password}".encode()).decode()


def test_the_right_password_opens_the_page_that_was_asked_for(stranger: Browser) -> None:
    asked = stranger.get("/ops/stuck?reason=disputed")
    answer = sign_in(stranger)

    assert (asked.status, asked.headers["location"]) == (303, "/ops/sign-in?next=%2Fops%2Fstuck%3Freason%3Ddisputed")
    assert (answer.status, answer.headers["location"]) == (303, "/ops/stuck?reason=disputed")
    assert stranger.get("/ops/stuck").status == 200


def test_who_signs_in_is_on_record_and_who_is_refused_is_not(stranger: Browser) -> None:
    sign_in(stranger, "wrong password")
    sign_in(stranger)

    with transaction() as session:
        lines = session.connection().execute(text("SELECT actor, action FROM audit")).all()
    assert [tuple(line) for line in lines] == [(f"operator:{NAME}", "operator.signed_in")]


def test_the_cookie_is_closed_to_scripts_and_other_sites(stranger: Browser) -> None:
    cookie = sign_in(stranger).headers["set-cookie"]

    for attribute in ("HttpOnly", "SameSite=strict", "Path=/ops", "Max-Age=43200"):
        assert attribute in cookie
    assert NAME not in cookie


def test_the_cookie_travels_only_over_https_unless_told_otherwise(
    stranger: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Secure" not in sign_in(stranger).headers["set-cookie"]

    monkeypatch.setenv("RATCHET_SECURE_COOKIES", "1")
    settings.cache_clear()

    assert "Secure" in sign_in(stranger).headers["set-cookie"]
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.parametrize(("name", "password"), [(NAME, "wrong"), ("nobody", PASSWORD), ("", ""), ("\x00", PASSWORD)])
def test_a_wrong_name_and_a_wrong_password_are_answered_alike(stranger: Browser, name: str, password: str) -> None:
    answer = sign_in(stranger, password, name)

    assert answer.status == 401
    assert "The name or the password is wrong." in answer.text
    assert "set-cookie" not in answer.headers
    assert "www-authenticate" not in answer.headers


@pytest.mark.parametrize(("minutes", "status"), [(11 * 60 + 59, 200), (12 * 60 + 1, 303)])
def test_a_session_ends_after_twelve_hours(stranger: Browser, minutes: int, status: int) -> None:
    session = json.dumps({"operator": NAME, "kind": "session"}).encode()
    stranger.cookies[COOKIE] = sealed._keys().encrypt_at_time(session, int(time.time()) - minutes * 60).decode()

    assert stranger.get("/ops/stuck").status == status


def test_a_session_ends_with_its_operator(browser: Browser) -> None:
    with transaction() as session:
        session.connection().execute(text("DELETE FROM operator"))

    assert browser.get("/ops/stuck").status == 303


@pytest.mark.parametrize("value", ["", "garbage", "gAAAAA=="])
def test_a_cookie_that_is_not_ours_opens_nothing(stranger: Browser, value: str) -> None:
    stranger.cookies[COOKIE] = value

    assert stranger.get("/ops/stuck").status == 303


def test_what_was_sealed_for_something_else_opens_nothing(stranger: Browser) -> None:
    for other in ({"operator": NAME, "kind": "other"}, {"kind": "session"}, [NAME], NAME, None):
        stranger.cookies[COOKIE] = seal(other).decode()

        assert stranger.get("/ops/stuck").status == 303


def test_signing_out_forgets_the_cookie(browser: Browser) -> None:
    answer = browser.post("/ops/sign-out", {})

    assert (answer.status, answer.headers["location"]) == (303, "/ops/sign-in")
    assert browser.get("/ops/stuck").status == 303


@pytest.mark.parametrize("target", ["/ops/stuck.csv", "/ops/stuck.json"])
def test_scripts_sign_in_with_every_request(stranger: Browser, target: str) -> None:
    refused = stranger.get(target)

    assert (refused.status, refused.json["code"]) == (401, "not_signed_in")
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert stranger.get(target, authorization=basic()).status == 200
    assert stranger.get(target, authorization=basic(password="wrong")).status == 401


@pytest.mark.parametrize("header", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Basic /w==", "Bearer abc", "\xff"])
def test_a_malformed_header_is_refused_and_no_error(stranger: Browser, header: str) -> None:
    assert stranger.get("/ops/stuck.json", authorization=header).status == 401


def test_pages_take_no_password_with_the_request(stranger: Browser) -> None:
    assert stranger.get("/ops/stuck", authorization=basic()).status == 303


def test_guessing_is_slowed_down_for_that_name_and_peer(stranger: Browser) -> None:
    for _ in range(MOST_TRIES):
        assert sign_in(stranger, "wrong").status == 401

    page, script = sign_in(stranger), stranger.get("/ops/stuck.json", authorization=basic())

    assert (page.status, script.status) == (429, 429)
    assert 0 < int(page.headers["retry-after"]) <= 61
    assert script.json["code"] == "too_many_tries"
    assert sign_in(Browser(peer="192.0.2.2")).status == 303


def test_the_right_password_forgives_earlier_guesses(stranger: Browser) -> None:
    for _ in range(2):
        for _ in range(MOST_TRIES - 1):
            sign_in(stranger, "wrong")
        assert sign_in(stranger).status == 303


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec_fetch_site": "same-origin"}, 303),
        ({"sec_fetch_site": "none"}, 303),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-site"}, 403),
        ({"sec_fetch_site": "", "origin": f"https://{HOST}"}, 303),
        ({"sec_fetch_site": "", "origin": "https://evil.example"}, 403),
        ({"sec_fetch_site": "", "origin": "null"}, 403),
        ({"sec_fetch_site": ""}, 303),
    ],
)
@pytest.mark.parametrize("target", ["/ops/sign-in", "/ops/sign-out"])
def test_forms_of_other_sites_are_refused(stranger: Browser, target: str, headers: dict[str, str], status: int) -> None:
    answer = stranger.post(target, {"name": NAME, "password": PASSWORD}, **headers)

    assert answer.status == status


@pytest.mark.parametrize("wanted", ["/ops/stuck", "/ops/stuck?reason=disputed&status=", "/ops/payouts/pay_1"])
def test_after_signing_in_our_own_pages_are_gone_to(wanted: str) -> None:
    assert safe_next(wanted) == wanted


@pytest.mark.parametrize(
    "wanted",
    ["", "//evil.example", "https://evil.example/ops/", "/\\evil.example", "/ops/\\evil", "/ops/\r\nx: y", "ops/stuck",
     "javascript:alert(1)", "/ops/sign-out", "/healthz", "/ops/\u202e"],
)  # fmt: skip
def test_and_nowhere_else(wanted: str) -> None:
    assert safe_next(wanted) == HOME


def test_a_form_that_cannot_be_read_is_refused(stranger: Browser) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}

    assert stranger.ask("POST", "/ops/sign-in", b"x" * 9_000, form).status == 413
    assert stranger.ask("POST", "/ops/sign-in", b"\xff=1", form).status == 400
    assert stranger.ask("POST", "/ops/sign-in", b"&a=1" * 20, form).status == 400
    assert stranger.ask("POST", "/ops/sign-in", b"{}", {"content-type": "application/json"}).status == 415
