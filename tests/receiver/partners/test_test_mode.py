"""Test mode: a partner's test key, a test account at the sandbox, and amounts that steer what becomes of a payout."""

import re
from collections.abc import Callable, Iterator

import pytest
from click import ClickException
from sqlmodel import select

from cli.sandbox import BASE_PATHS, sandbox_gateways
from models.database import transaction
from models.integration import Integration
from models.payout import SubmissionState
from sandbox.magic import MAGIC
from tests.concurrency import wait_until
from tests.factories import an_integration, get_payout
from tests.receiver.partners.partner import Partner
from tests.sandbox.stand import Stand
from tests.servers import PROJECT, a_folder
from tests.workers.sandboxes import a_quiet_sandbox, an_integration_at, settle
from workers.broker import broker
from workers.outside import outside
from workers.poll import poll
from workers.submit import submit

APartner = Callable[..., Partner]

PAGE = (PROJECT / "docs" / "api.md").read_text()

ENDS = {
    0: "delivered",
    1: "failed",
    2: "returned",
    3: "delivered",
    4: "canceled",
    5: "broadcast",
    6: "delivered",
    7: "failed",
}
"""What a payout of each ending comes to, at a gateway that has a word for all of it."""


@pytest.fixture(scope="module")
def running() -> Iterator[Stand]:
    with a_quiet_sandbox() as stand:
        yield stand
    if opened := outside.forget():
        opened.close()


@pytest.fixture
def stand(running: Stand, database: None) -> Stand:
    settle(running)
    running.behave(magic_amounts=True)
    broker.flush_all()
    return running


@pytest.mark.parametrize("ending", ENDS)
def test_a_partner_steers_a_test_payout_by_its_amount(a_partner: APartner, stand: Stand, ending: int) -> None:
    partner = a_partner(test_mode=True)
    an_integration_at(stand, "paycore", test_mode=True)
    body = {
        "currency": "USD",
        "amount": f"100.0{ending}",
        "customer": {"first_name": "Ada", "last_name": "Mensah", "email": "ada@example.com"},
        "mode": "payment_card_usd",
        "details": {"fields": {"card_number": "4111111111111111"}},
    }

    created = partner.post("/v1/payouts", body)
    payout = get_payout(created.json["id"])
    submit(payout.id)
    wait_until(lambda: get_payout(payout.id).submission not in {"unsent", "sending"})
    told_at_once = get_payout(payout.id).submission
    wait_until(lambda: all(one["is_over"] for one in stand.truth()))

    if get_payout(payout.id).status != ENDS[ending]:
        poll([payout.id])
    wait_until(lambda: get_payout(payout.id).status == ENDS[ending])
    expected = {6: SubmissionState.UNKNOWN, 7: SubmissionState.REJECTED}
    assert told_at_once == expected.get(ending, SubmissionState.ACCEPTED)
    assert partner.get(f"/v1/payouts/{payout.id}").json["status"] == ENDS[ending]


def test_every_ending_is_documented() -> None:
    documented = re.findall(r"^\| `(\d\d)` \|", PAGE, re.MULTILINE)

    assert {int(ending) for ending in documented} == {*MAGIC}


def test_one_command_brings_test_accounts_that_survive_it(database: None) -> None:
    with a_folder() as folder:
        for _ in range(2):
            with sandbox_gateways(folder) as port:
                addresses = _addresses()
            assert all(f":{port}/" in address for address in addresses.values())

    assert {*addresses} == {f"{connector}-test" for connector in BASE_PATHS}


def _addresses() -> dict[str, str]:
    with transaction() as session:
        rows = session.exec(select(Integration)).all()
        assert all(row.test_mode and row.has_webhook_secret for row in rows)
        return {row.slug: row.base_url or "" for row in rows}


def test_a_live_account_is_never_turned_into_a_test_account(database: None) -> None:
    an_integration("mollie", slug="mollie-test")

    with a_folder() as folder, pytest.raises(ClickException, match="moves money"), sandbox_gateways(folder):
        pass
