"""The page to try the API: ours alone, and it works in a real browser."""

import re

from tests.chromium import a_page, needs_chromium
from tests.factories import an_integration
from tests.receiver.doors import Door
from tests.receiver.partners.partner import Partner


def test_everything_that_the_page_loads_is_served_here(partner: Partner) -> None:
    page = partner.get("/docs", authorization="")
    names = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())

    answers = {name: partner.get(name, authorization="") for name in names}

    assert {name.partition("/docs")[0] for name in names if name != "/openapi.json"} == {""}
    assert {answer.status for answer in answers.values()} == {200}


def test_nothing_runs_inline_and_nothing_leaves_for_strangers(partner: Partner) -> None:
    page = partner.get("/docs", authorization="")

    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "connect-src 'self'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"


@needs_chromium
def test_a_payout_can_be_created_from_the_page(partners_door: Door, partner: Partner) -> None:
    an_integration("fedapay")
    payouts = "#operations-payouts-create_payout"
    with a_page() as page:
        page.open(partners_door.url("/docs"))
        page.click("button.authorize")
        page.find(".auth-container input").send_keys(partner.key)
        page.click(".auth-btn-wrapper .authorize")
        page.click(".btn-done")
        page.click(f"{payouts} .opblock-summary-control")
        page.click(f"{payouts} .execute")

        page.wait_for_text(
            f"{payouts} .live-responses-table .response .response-col_status", lambda text: "201" in text
        )

        assert page.complaints() == []
    assert len(partner.get("/v1/payouts").json["data"]) == 1
