"""`ratchet gateways check` against a receiver and a worker that really run."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlmodel import select

import connectors
from cli import ratchet
from models.audit import AuditLine
from models.database import transaction
from models.inbox import InboxEvent, InboxState
from models.integration import Integration
from payouts.attention import read_attention
from tests.concurrency import wait_until
from tests.connectors.sample import sample_of
from tests.factories import SECRET, an_integration
from tests.receiver.doors import Door, a_door_process, inbox, states
from tests.servers import a_process

pytestmark = pytest.mark.usefixtures("database")

SIGNABLE = ("mollie", "fedapay", "paycore", "zopay", "bridgerpay", "stripe", "adyen", "razorpay", "cashfree")
SIGNABLE += ("modern_treasury", "coinbase", "standard_webhooks")
ASYMMETRIC = sorted(set(connectors.NAMES) - set(SIGNABLE))


@pytest.fixture(scope="module")
def door(_migrated: None) -> Iterator[Door]:
    with a_door_process() as door, a_process("-m", "workers"):
        yield door


def an_integration_like(name: str, **columns: Any) -> Integration:
    sample = sample_of(name)
    options = {key: value for key, value in sample.account.options.items() if key != "tolerance_seconds"}
    return an_integration(name, webhook_secrets=(sample.secret,), options=options, **columns)


def check(integration: Integration | str, door: Door, *words: str) -> Result:
    """Check as soon as the receiver knows the integration."""
    slug = integration if isinstance(integration, str) else integration.slug
    if not isinstance(integration, str):
        wait_until(lambda: door.post(slug, b"").status != 404)
    return CliRunner().invoke(ratchet, ["gateways", "check", slug, "--url", door.url(""), *words])


def lines(result: Result) -> dict[str, tuple[bool, str]]:
    return {line["check"]: (line["ok"], line["detail"]) for line in json.loads(result.stdout)}


@pytest.mark.parametrize("name", SIGNABLE)
def test_a_signed_sample_is_stored_and_a_forged_one_refused(door: Door, name: str) -> None:
    result = check(an_integration_like(name), door, "--json")

    found = lines(result)
    assert result.exit_code == 0, result.output
    assert found["secret"] == (True, "1 live, each readable")
    assert found["forged sample"][1].startswith("401 invalid_signature signature_mismatch")
    assert found["signed sample"][1].startswith("200 stored")
    assert "unmatched" in found["inbox"][1]


def test_what_a_check_leaves_in_the_inbox_is_put_away(door: Door) -> None:
    check(an_integration_like("mollie"), door)

    assert states() == [InboxState.APPLIED]
    with transaction() as session:
        assert read_attention(session, datetime.now(UTC)).inbox_events == 0


@pytest.mark.parametrize("name", ASYMMETRIC)
def test_where_only_the_gateway_can_sign_it_says_so_and_checks_the_rest(door: Door, name: str) -> None:
    result = check(an_integration_like(name), door, "--json")

    found = lines(result)
    assert result.exit_code == 0, result.output
    assert found["secret"][0]
    assert found["forged sample"][1].startswith("401 invalid_signature signature_mismatch")
    assert "only the gateway has the private key" in found["signed sample"][1]
    assert inbox() == []


@pytest.mark.parametrize(("name", "secret"), [("wise", "planted"), ("adyen", "planted"), ("zopay", "whsec_planted!")])
def test_a_secret_that_is_no_key_is_found(door: Door, name: str, secret: str) -> None:
    result = check(an_integration(name, webhook_secrets=(secret,)), door, "--json")

    found = lines(result)
    assert result.exit_code == 1
    assert not found["secret"][0]
    assert secret not in result.output


def test_an_integration_without_a_secret_is_told_so_and_refused(door: Door) -> None:
    result = check(an_integration("stripe", webhook_secrets=()), door, "--json")

    found = lines(result)
    assert result.exit_code == 1
    assert "rotate" in found["secret"][1]
    assert found["forged sample"] == (True, found["forged sample"][1])
    assert found["forged sample"][1].startswith("403 webhook_secret_missing")
    assert "signed sample" not in found


def test_a_disabled_integration_is_told_so(door: Door) -> None:
    result = check(an_integration("stripe", is_active=False).slug, door)

    assert result.exit_code == 1
    assert "disabled" in result.output


def test_a_receiver_that_knows_another_secret_refuses_the_sample_and_a_way_out_is_named(door: Door) -> None:
    integration = an_integration("stripe")
    wait_until(lambda: door.post(integration.slug, b"").status != 404)
    with transaction() as session:
        row = session.exec(select(Integration).where(Integration.id == integration.id)).one()
        row.keep(row.secrets().rotated(("another",), datetime.now(UTC)))

    result = check(integration.slug, door, "--json")

    assert result.exit_code == 1
    assert "signature_mismatch" in lines(result)["signed sample"][1]
    assert "after some seconds" in lines(result)["signed sample"][1]


def test_a_receiver_that_is_not_there_is_named_and_the_url_is_not_guessed() -> None:
    integration = an_integration("stripe")

    result = CliRunner().invoke(ratchet, ["gateways", "check", integration.slug, "--url", "http://127.0.0.1:9"])

    assert result.exit_code == 1
    assert "nobody answers" in result.output
    assert "Traceback" not in result.output


def test_without_a_worker_the_sample_is_stored_and_not_applied() -> None:
    integration = an_integration("stripe")
    with a_door_process(REDIS_URL="redis://127.0.0.1:9") as door:  # the hint to a worker is lost, and nobody sweeps
        result = check(integration, door, "--json", "--wait", "0.1")

    assert result.exit_code == 1
    assert "is a worker running" in lines(result)["inbox"][1]
    assert states() == [InboxState.APPLIED]


def test_options_that_do_not_fit_the_sample_are_found(door: Door) -> None:
    integration = an_integration(
        "standard_webhooks",
        webhook_secrets=(sample_of("standard_webhooks").secret,),
        options={"id_path": "type"},
    )

    result = check(integration, door, "--json")

    assert result.exit_code == 1
    assert "look at the integration's options" in lines(result)["inbox"][1]


def test_a_check_is_on_record_and_holds_no_secret(door: Door) -> None:
    integration = an_integration("stripe")

    result = check(integration, door)

    with transaction() as session:
        line = session.exec(select(AuditLine).where(AuditLine.action == "integration.checked")).one()
        (event,) = session.exec(select(InboxEvent)).all()
    assert (line.entity, line.after) == (f"integration:{integration.slug}", {"is_well": True})
    assert SECRET not in result.output + str(line) + str(event)


@pytest.mark.parametrize("url", ["hooks.example", "ftp://hooks.example", ""])
def test_a_url_that_is_none_is_a_usage_error(url: str) -> None:
    result = CliRunner().invoke(ratchet, ["gateways", "check", an_integration("stripe").slug, "--url", url])

    assert result.exit_code == 2
