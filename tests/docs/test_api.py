"""Every command of docs/api.md, run as it stands there against a running door."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from freezegun import freeze_time

import settings
from cli import ratchet
from models.api_key import Scope
from models.balance import Frequency
from models.database import transaction
from payouts.destinations import set_destination
from payouts.ledger import hold
from payouts.transfers import set_frequency
from payouts.treasury import By, credit
from receiver.app import partners
from receiver.partners.creating import OF_BALANCES, OF_QUOTES
from receiver.partners.refusals import CODES
from tests.factories import a_balance, a_fee, a_rate, an_integration
from tests.payouts.test_balances import WISH as BY_CARD
from tests.receiver.doors import Door, a_server
from tests.receiver.partners.partner import a_key
from tests.servers import PROJECT

PAGE: Final = (PROJECT / "docs" / "api.md").read_text()
EXAMPLES: Final = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
"""Create, quote, use a quote, look at balances, pay one out, follow, cancel."""
ANSWERS: Final = [json.loads(answer) for answer in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
NOW: Final = "2026-05-12T09:15:00Z"

needs_curl: Final = pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not here")


@pytest.fixture
def door(database: None) -> Iterator[Door]:
    with a_server(partners()) as running:
        yield running


def run(example: str, **variables: str) -> list[Any]:
    """Run one example; return the JSON documents that its commands print."""
    environment = {"PATH": settings.inherited()["PATH"], **variables}
    ended = subprocess.run(["/bin/bash", "-ec", example], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    decoder, rest, documents = json.JSONDecoder(), ended.stdout.strip(), []
    while rest:
        document, end = decoder.raw_decode(rest)
        documents.append(document)
        rest = rest[end:].strip()
    return documents


@needs_curl
def test_the_examples_work_as_they_stand(door: Door) -> None:
    an_integration("fedapay")
    variables = {"RATCHET": door.url(""), "KEY": a_key().key}
    create, _, _, _, _, follow, cancel = EXAMPLES

    (created,) = run(create, **variables)
    (again,) = run(create, **variables)
    listed, shown, events = run(follow, **variables, PAYOUT=created["id"])
    (canceled,) = run(cancel, **variables, PAYOUT=created["id"])

    assert again == created
    assert [payout["id"] for payout in listed["data"]] == [created["id"]]
    assert shown == created
    assert [event["type"] for event in events["data"]] == ["payout.pending"]
    assert canceled["status"] == "canceled"


@needs_curl
def test_a_quote_and_its_payout_are_as_shown(door: Door) -> None:
    _, ask, use, _, _, _, _ = EXAMPLES
    a_rate("EUR", "XOF", "655.957")
    a_fee(an_integration("fedapay", slug="fedapay-bj"), "EUR", percent="0.5", fixed_minor=30, estimated_seconds=90)
    balance = a_balance(25_00)
    variables = {"RATCHET": door.url(""), "KEY": a_key().key}

    with freeze_time(NOW, real_asyncio=True):
        (quoted,) = run(ask, **variables)
        with transaction() as session:
            credit(session, balance.id, 75_00, By("test", "what was missing", datetime.now(UTC)))
        (paid,) = run(use, **variables, QUOTE=quoted["quote_id"])

    assert as_shown(quoted, ANSWERS[0]), quoted
    assert (paid["amount"], paid["quote"]["quote_id"]) == ("65070", quoted["quote_id"])
    assert paid["estimated_delivery_at"] == "2026-05-12T09:16:30Z"


@needs_curl
def test_a_balance_and_a_payout_of_it_are_as_shown(door: Door) -> None:
    _, _, _, look, pay, _, _ = EXAMPLES
    integration = an_integration(slug="paycore-eu")
    variables = {"RATCHET": door.url(""), "KEY": a_key().key}

    with freeze_time(NOW):
        balance = a_balance(1_000_00, reserve_minor=150_00)
    by = By("test", "", datetime.fromisoformat(NOW))
    with transaction() as session:
        set_destination(session, balance.id, integration.slug, BY_CARD, by)
        set_frequency(session, balance.id, Frequency.DAILY, by)
        hold(session, "pay_1", balance.id, 50_00, by.now)
    with freeze_time(NOW, real_asyncio=True):
        listed, shown, entries = run(look, **variables, BALANCE=balance.id)
        (paid,) = run(pay, **variables, BALANCE=balance.id)
        _, afterwards, _ = run(look, **variables, BALANCE=balance.id)

    assert as_shown(shown, ANSWERS[1]), shown
    assert listed["data"] == [shown]
    assert {entry["kind"] for entry in entries["data"]} == {"credited", "reserved", "held"}
    assert (paid["status"], paid["amount"], paid["balance_id"]) == ("scheduled", "250.00", balance.id)
    assert paid["scheduled_at"] == "2026-05-13T04:00:00Z"
    assert (afterwards["available"], afterwards["transfer_frequency"]) == ("550.00", "never")


def as_shown(answer: Any, example: Any) -> bool:
    """Tell whether an answer is what the page shows, to the last member; `…` stands for what is new each time."""
    if isinstance(example, dict):
        return answer.keys() == example.keys() and all(as_shown(answer[name], example[name]) for name in example)
    if isinstance(example, str) and example.endswith("…"):
        return str(answer).startswith(example[:-1])
    return bool(answer == example)


def test_every_refusal_of_the_page_is_one_of_ours_with_its_status() -> None:
    rows = re.findall(r"^\| (?:(\d{3}) )?(`\w+`(?:, `\w+`)*) \|", PAGE, re.MULTILINE)
    named = {
        code: int(status or 409)
        for status, codes in rows
        for code in re.findall(r"`(\w+)`", codes)
        if not code.isdigit()  # the endings of test amounts
    }

    assert named == {code: CODES[code][0] for code in named}
    assert named.keys() >= {*OF_QUOTES, *OF_BALANCES} - ELSEWHERE


ELSEWHERE: Final = {"unknown_balance", "balance_missing", "integration_inactive", "mode_differs"}
"""Codes that the tables leave out: told in the text, or rare."""


def test_every_command_of_the_page_is_a_command() -> None:
    named = re.findall(r"^\$ ratchet (\w+) (\w+)", PAGE, re.MULTILINE)

    assert len(named) >= 4
    for group, command in named:
        assert command in ratchet.commands[group].commands  # type: ignore[attr-defined]


def test_every_scope_and_every_gateway_that_pays_is_named() -> None:
    assert {scope for scope in Scope if f"`{scope}`" not in PAGE} == set()
    assert all(name in PAGE for name in ("FedaPay", "PayCore", "BridgerPay", "ZoPay", "Mollie"))
