"""`ratchet endpoints`: what an operator does for a partner who cannot."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlmodel import select

from cli import ratchet
from models.database import transaction
from models.endpoint import SYMMETRIC, Endpoint
from models.outbox import Delivery
from tests.factories import an_endpoint
from workers.broker import broker

pytestmark = pytest.mark.usefixtures("database")

URL = "https://partner.example/hooks"


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, ["endpoints", *words])


def added(*words: str) -> str:
    result = run("add", "Acme", URL, *words)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()[0]


def shown(endpoint_id: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("show", endpoint_id, "--json").output)
    return found


def row(endpoint_id: str) -> Endpoint:
    with transaction() as session:
        return session.get_one(Endpoint, endpoint_id)


def test_everything_may_be_chosen_and_is_shown_but_the_secrets() -> None:
    endpoint_id = added(
        *("--test", "--event-type", "payout.failed", "--description", "ours", "--metadata", "team=money"),
        *("--header", "Authorization=Bearer planted=x", "--rate-limit", "5", "--retry-after", "1"),
        *("--retry-after", "60", "--sign", "v1", "--sign", "v1a"),
    )

    facts = shown(endpoint_id)
    assert (facts["url"], facts["event_types"], facts["test_mode"]) == (URL, ["payout.failed"], True)
    assert (facts["description"], facts["metadata"], facts["headers"]) == ("ours", {"team": "money"}, ["authorization"])
    assert (facts["rate_limit"], facts["retry_schedule"]) == (5, [1, 60])
    assert facts["signatures"] == ["v1", "v1a"]
    assert facts["public_keys"][0].startswith("whpk_")
    everything = run("show", endpoint_id).output + json.dumps(facts) + run("list").output
    assert not any(hidden in everything for hidden in ("planted", "whsec_", "whsk_"))


def test_an_update_changes_what_is_given() -> None:
    endpoint_id = added("--rate-limit", "5", "--description", "ours")

    result = run("update", endpoint_id, "--url", "https://other.example/", "--rate-limit", "0", "--event-type", "*")

    facts = shown(endpoint_id)
    assert result.exit_code == 0
    assert (facts["url"], facts["rate_limit"], facts["description"]) == ("https://other.example/", None, "ours")


def test_a_rotated_secret_is_printed_once_and_the_old_one_signs_for_a_while() -> None:
    endpoint_id = added()
    now = datetime.now(UTC)

    fresh = run("rotate", endpoint_id, "--keep-old-hours", "2").stdout.strip()

    secrets = row(endpoint_id).secrets()
    assert secrets.live(now, SYMMETRIC)[0] == fresh
    assert len(secrets.live(now, SYMMETRIC)) == 2
    assert secrets.live(now + timedelta(hours=3), SYMMETRIC) == (fresh,)


def test_an_endpoint_is_switched_off_on_and_deleted() -> None:
    endpoint_id = added()

    run("disable", endpoint_id)
    disabled = shown(endpoint_id)["is_enabled"]
    run("enable", endpoint_id)
    enabled = shown(endpoint_id)["is_enabled"]
    kept = run("delete", endpoint_id)
    deleted = run("delete", endpoint_id, "--yes")

    assert (disabled, enabled, kept.exit_code, deleted.exit_code) == (False, True, 1, 0)
    assert endpoint_id not in run("list", "--json").output


def test_a_ping_is_owed_and_queued() -> None:
    endpoint = an_endpoint()
    broker.flush_all()

    result = run("ping", endpoint.id)

    with transaction() as session:
        (delivery,) = session.exec(select(Delivery)).all()
    assert result.output.strip() == delivery.id
    assert (delivery.endpoint_id, broker.client.llen("ratchet:deliver")) == (endpoint.id, 1)
    broker.flush_all()


def test_a_contact_is_kept_for_an_organisation_that_there_is() -> None:
    added()

    known, unknown = run("contact", "Acme", "ops@partner.example.com"), run("contact", "Nobody", "x@y.example.com")

    assert (known.exit_code, unknown.exit_code) == (0, 1)
    assert "unknown_organisation" in unknown.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("add", "Acme", "ftp://partner.example/"), "url_not_https"),
        (("add", "Acme", "https://169.254.169.254/"), "url_not_public"),
        (("add", "Acme", URL, "--header", "webhook-id=x"), "headers_invalid"),
        (("add", "Acme", URL, "--header", "nothing"), "NAME=VALUE"),
        (("add", "Acme", URL, "--event-type", "payout.done"), "payout.delivered"),
        (("show", "ep_nobody"), "unknown_endpoint"),
        (("update", "ep_nobody", "--description", "x"), "unknown_endpoint"),
        (("update", "ep_nobody"), "nothing to change"),
        (("rotate", "ep_nobody"), "unknown_endpoint"),
        (("ping", "ep_nobody"), "unknown_endpoint"),
    ],
)
def test_what_cannot_be_done_says_why(words: tuple[str, ...], told: str) -> None:
    result = run(*words)

    assert result.exit_code != 0
    assert told in result.output
    with transaction() as session:
        assert session.exec(select(Endpoint)).all() == []
