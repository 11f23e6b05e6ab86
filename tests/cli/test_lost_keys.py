"""After every key of RATCHET_SECRET_KEYS is lost: what the runbook says sets the secrets anew."""

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from click.testing import CliRunner, Result
from sqlmodel import select

from cli import ratchet
from models.audit import AuditLine
from models.database import transaction
from models.endpoint import SYMMETRIC, Endpoint
from models.integration import Integration
from models.sealed import seal
from tests.factories import an_endpoint, an_integration

pytestmark = pytest.mark.usefixtures("database")

LoseKeys = Callable[[], None]

ROTATE = ("gateways", "rotate", "paycore-eu")
SECRET = ("--webhook-secret", "new")
CREDENTIALS = ("--credential", "account_id=coma_1", "--credential", "api_key=sk_1")


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


def test_a_gateways_secrets_are_set_anew_when_all_are_given_and_the_output_says_so(lose_keys: LoseKeys) -> None:
    integration = an_integration(slug="paycore-eu", credentials={"account_id": "old", "api_key": "old"})
    lose_keys()

    rotated = run(*ROTATE, *SECRET, *CREDENTIALS)

    assert rotated.exit_code == 0, rotated.output
    assert "cannot be opened" in rotated.output
    assert "verify until" not in rotated.output
    with transaction() as session:
        secrets = session.get_one(Integration, integration.id).secrets()
        line = session.exec(select(AuditLine).where(AuditLine.action == "integration.rotated")).one()
    assert secrets.live(datetime.now(UTC)) == ("new",)
    assert secrets.credentials == {"account_id": "coma_1", "api_key": "sk_1"}
    assert ((line.after or {})["old_until"], (line.after or {})["old_lost"]) == (None, True)


@pytest.mark.parametrize(
    ("given", "missing"),
    [(SECRET, "account_id"), (CREDENTIALS, "--webhook-secret"), ((*SECRET, *CREDENTIALS[:2]), "api_key")],
)
def test_nothing_is_set_anew_by_halves_and_what_is_missing_is_named(
    lose_keys: LoseKeys, given: tuple[str, ...], missing: str
) -> None:
    integration = an_integration(slug="paycore-eu")
    lose_keys()

    refused = run(*ROTATE, *given)

    assert refused.exit_code == 1
    assert missing in refused.output
    assert "RATCHET_SECRET_KEYS" in refused.output
    with transaction() as session:
        assert session.get_one(Integration, integration.id).sealed == integration.sealed


def test_a_gateway_that_had_no_webhook_secret_is_mended_without_one(lose_keys: LoseKeys) -> None:
    integration = an_integration(slug="paycore-eu", webhook_secrets=())
    lose_keys()

    assert run(*ROTATE, *CREDENTIALS).exit_code == 0
    with transaction() as session:
        assert session.get_one(Integration, integration.id).secrets().credentials["api_key"] == "sk_1"


def test_an_endpoint_gets_a_new_secret_once_it_is_said_that_no_old_one_signs(lose_keys: LoseKeys) -> None:
    endpoint = an_endpoint(sealed_headers=seal({"authorization": "old"}))
    lose_keys()

    refused = run("endpoints", "rotate", endpoint.id)
    rotated = run("endpoints", "rotate", endpoint.id, "--keep-old-hours", "0")
    changed = run("endpoints", "update", endpoint.id, "--header", "Authorization=new")

    assert (refused.exit_code, rotated.exit_code, changed.exit_code) == (1, 0, 0)
    assert "secrets_lost" in refused.output
    assert "keep_old_hours 0" in refused.output
    assert "Old ones sign no more" in rotated.stderr
    with transaction() as session:
        secrets = session.get_one(Endpoint, endpoint.id).secrets()
    assert secrets.live(datetime.now(UTC), SYMMETRIC) == (rotated.stdout.strip(),)


@pytest.mark.parametrize("words", [("disable",), ("enable",), ("update", "--description", "ours"), ("delete", "--yes")])
def test_an_endpoint_whose_headers_cannot_be_opened_can_still_be_switched_and_deleted(
    lose_keys: LoseKeys, words: tuple[str, ...]
) -> None:
    endpoint = an_endpoint(sealed_headers=seal({"authorization": "old"}))
    lose_keys()

    result = run("endpoints", words[0], endpoint.id, *words[1:])

    assert result.exit_code == 0, result.output
    with transaction() as session:
        line = session.exec(select(AuditLine).where(AuditLine.entity == endpoint.id)).one()
    assert (line.before or {})["headers"] is None
