"""The partner's page in a real browser: entered, read on a phone and on a desk, and every button pressed."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest
from sqlmodel import select
from standardwebhooks import Webhook

from models.database import transaction
from models.endpoint import Endpoint
from models.outbox import Delivery, DeliveryState
from tests.chromium import Page, a_page, needs_chromium
from tests.concurrency import wait_until
from tests.factories import an_endpoint
from tests.payouts.missed import STEPS, a_history, an_attempt, close
from tests.receiver.doors import Door
from tests.receiver.partners.portal.visitor import Visitor
from tests.workers.partners import Got
from tests.workers.partners import Partner as Listener
from tests.workers.partners import a_partner as a_listener
from workers.deliver import deliver

pytestmark = [needs_chromium, pytest.mark.timeout(180)]

PHONE, DESK = 390, 1280


@pytest.fixture
def listener() -> Iterator[Listener]:
    with a_listener() as listening:
        yield listening


@pytest.fixture
def endpoint(database: None, listener: Listener) -> Endpoint:
    """Return an endpoint that hears, with a history of failures."""
    endpoint = an_endpoint(f"{listener.url}/hooks/a-rather-long-path-that-has-to-break-somewhere", description="Shop")
    a_history(*STEPS)
    (dead,) = close("dead", sequence=1)
    close("delivered", sequence=2)
    an_attempt(dead, answer=b"<html><body><h1>Internal Server Error</h1>" + b"x" * 400)
    return endpoint


def enter(page: Page, door: Door, visitor: Visitor) -> None:
    page.open(door.url(f"/portal/enter/{visitor.minted.token}"))
    page.click("main button")
    page.find("#deliveries")


def pings(listener: Listener) -> list[Got]:
    return [got for got in listener.got if b'"endpoint.ping"' in got.body]


def goes_out(page: Page) -> None:
    """Be the worker: attempt what the page shows as owed. The page looks again by itself."""
    page.wait_for_text(".facts .state", lambda text: text == "open")  # a click may return before its form is answered
    with transaction() as session:
        owed = session.exec(select(Delivery.id).where(Delivery.state == DeliveryState.OPEN)).all()
    deliver(list(owed))
    page.wait_for_text(".facts .state", lambda text: text == "delivered")


def test_a_visit_from_the_link_to_leaving(
    partners_door: Door, a_visitor: Callable[..., Visitor], endpoint: Endpoint, listener: Listener
) -> None:
    visitor = a_visitor(enter=False)
    with a_page(width=DESK) as page:
        enter(page, partners_door, visitor)
        assert page.driver.current_url == partners_door.url("/portal")
        assert visitor.minted.token not in page.driver.page_source
        assert page.driver.execute_script("return document.cookie") == ""

        page.click(f'a[href="/portal/endpoints/{endpoint.id}"]')
        page.click('form[action$="/ping"] button')
        goes_out(page)
        assert pings(listener)[-1].headers["webhook-id"] in page.driver.page_source

        page.open(partners_door.url("/portal?state=dead"))
        page.click('a[href^="/portal/deliveries/"]')
        page.click("details summary")
        assert "WEBHOOK_SECRET" in page.find("details pre").text
        heard = len(listener.got)
        page.click('form[action$="/redeliver"] button')
        goes_out(page)
        wait_until(lambda: len(listener.got) > heard)

        page.open(partners_door.url(f"/portal/endpoints/{endpoint.id}"))
        page.click('form[action$="/rotate"] button')
        secret = page.find("code.secret").text
        page.click('form[action$="/ping"] button')
        goes_out(page)
        got = pings(listener)[-1]
        assert Webhook(secret).verify(got.body, dict(got.headers))["data"]["id"] == endpoint.id

        page.open(partners_door.url(f"/portal/endpoints/{endpoint.id}"))
        page.click('form[action$="/recover"] button')
        assert "running" in page.find(".steps").text

        assert page.complaints() == []
        page.click('form[action$="/leave"] button')
        page.wait_for_text("h1", lambda text: text == "You have left")
        page.open(partners_door.url("/portal"))
        page.wait_for_text("h1", lambda text: text == "This page opens with a link")
    (live, _) = _live(endpoint)
    assert live == secret


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_no_page_is_wider_than_its_window_and_none_breaks_the_policy(
    partners_door: Door, a_visitor: Callable[..., Visitor], endpoint: Endpoint, width: int
) -> None:
    with transaction() as session:
        delivery_id = session.exec(select(Delivery.id).where(Delivery.state == DeliveryState.DEAD)).one()
    with a_page(width=width) as page:
        page.narrow_to(width)
        enter(page, partners_door, a_visitor(enter=False))
        for path in ("", f"/endpoints/{endpoint.id}", f"/deliveries/{delivery_id}", "/nowhere"):
            page.open(partners_door.url(f"/portal{path}"))
            page.find("h1")
            widths = page.driver.execute_script(
                "return [document.documentElement.scrollWidth, document.documentElement.clientWidth, innerWidth]"
            )
            assert widths[0] <= widths[1] <= widths[2] == width, path
        assert [each for each in page.complaints() if "404" not in each] == []


def _live(endpoint: Endpoint) -> tuple[str, ...]:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint.id).secrets().live(datetime.now(UTC), "whsec_")
