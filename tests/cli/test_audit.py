"""`ratchet audit` as an operator types it, and what each command leaves behind in the trail."""

import getpass
import json

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from cli import ratchet
from models.database import transaction
from tests.factories import SECRET, an_integration

pytestmark = pytest.mark.usefixtures("database")

PLANTED = "planted-secret-planted"


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


def listed(*options: str) -> list[dict[str, object]]:
    return list(json.loads(run("audit", "list", "--json", *options).output))


def _some_work() -> None:
    run("gateways", "add", "paycore", "eu", "--webhook-secret", PLANTED, "--credential", f"api_key={PLANTED}")
    run("gateways", "disable", "eu")
    run("gateways", "enable", "eu")
    run("gateways", "rotate", "eu", "--webhook-secret", PLANTED + "2", "--credential", f"api_key={PLANTED}3")
    run("endpoints", "add", "Acme", f"https://partner.example/{PLANTED}")
    run("operators", "add", "ada", "--password", PLANTED)
    run("operators", "add", "ada", "--password", PLANTED + "4")
    run("payouts", "add", "eu", "Acme", "12.50", "EUR", "--order-key", "o-1", "--details", f'{{"iban": "{PLANTED}"}}')


def test_every_command_that_decides_something_leaves_a_line() -> None:
    _some_work()

    lines = listed()
    assert [line["action"] for line in reversed(lines)] == [
        "integration.added",
        "integration.disabled",
        "integration.enabled",
        "integration.rotated",
        "endpoint.added",
        "operator.added",
        "operator.password_changed",
        "payout.created",
    ]
    assert {line["actor"] for line in lines} == {f"cli:{getpass.getuser()}"}


def test_no_secret_account_or_path_of_a_partner_is_in_the_trail() -> None:
    _some_work()

    with transaction() as session:
        trail = session.connection().execute(text("SELECT string_agg(a::text, ' ') FROM audit a")).scalar_one()
    assert "planted" not in trail
    assert "partner.example" in trail


def test_a_line_says_what_was_and_what_is() -> None:
    an_integration(slug="eu")
    run("gateways", "disable", "eu")

    (line,) = listed("--entity", "integration:eu")
    assert isinstance(line["before"], dict)
    assert isinstance(line["after"], dict)
    assert (line["before"]["is_active"], line["after"]["is_active"]) == (True, False)


def test_a_refused_command_leaves_no_line() -> None:
    an_integration(slug="eu", is_active=False)

    assert run("payouts", "add", "eu", "Acme", "1.00", "EUR", "--order-key", "o-1").exit_code == 1
    assert run("operators", "add", "ada", "--password", "short").exit_code == 1
    assert listed() == []


def test_an_integration_can_be_disabled_although_its_secrets_cannot_be_opened() -> None:
    an_integration(slug="eu", webhook_secrets=(SECRET,))
    with transaction() as session:
        session.connection().execute(text("UPDATE integration SET sealed = 'lost'"))

    assert run("gateways", "disable", "eu").exit_code == 0
    assert [line["action"] for line in listed()] == ["integration.disabled"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--action", "integration."), 4),
        (("--action", "integration.disabled"), 1),
        (("--action", "%"), 0),
        (("--entity", "operator:ada"), 2),
        (("--actor", "system"), 0),
        (("--since", "2020-01-01"), 8),
        (("--since", "2120-01-01T00:00:00"), 0),
        (("--limit", "3"), 3),
    ],
)
def test_lines_are_listed_by_what_is_asked_for(options: tuple[str, ...], expected: int) -> None:
    _some_work()

    assert len(listed(*options)) == expected


def test_verify_seals_nothing_prints_the_head_and_checks_a_noted_one() -> None:
    _some_work()
    unsealed = run("audit", "verify")
    head = run("audit", "seal").output.split()[-1]
    sealed = run("audit", "verify", "--head", head)

    assert unsealed.exit_code == 0
    assert "8 lines, 0 sealed, 8 not yet" in unsealed.output
    assert sealed.exit_code == 0
    assert f"head {head}" in sealed.output
    assert "the chain holds" in sealed.output


def test_verify_ends_with_1_and_names_the_place_when_a_line_was_changed() -> None:
    _some_work()
    run("audit", "seal")
    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))
        session.connection().execute(text("UPDATE audit SET actor = 'operator:eve' WHERE id = 2"))

    told, as_json = run("audit", "verify"), run("audit", "verify", "--json")

    assert (told.exit_code, as_json.exit_code) == (1, 1)
    assert "CHANGED  link 2: audit line 2 is not what was sealed" in told.output
    assert "the chain holds" not in told.output
    document = json.loads(as_json.output)
    assert document["ok"] is False
    assert [finding["kind"] for finding in document["findings"]] == ["changed"]


def test_a_head_that_is_not_one_is_refused() -> None:
    assert run("audit", "verify", "--head", "12").exit_code == 2
    assert run("audit", "verify", "--head", "x:zz").exit_code == 2


def test_the_doctor_says_when_a_line_waits_to_be_sealed() -> None:
    run("gateways", "add", "paycore", "eu", "--webhook-secret", PLANTED)
    with transaction() as session:
        session.connection().execute(text("SET LOCAL session_replication_role = replica"))
        session.connection().execute(text("UPDATE audit SET recorded_at = now() - interval '1 hour'"))

    waiting = run("doctor")
    run("audit", "seal")
    sealed = run("doctor")

    assert "a line waits to be sealed since 3600 s" in waiting.output
    assert "every line is sealed" in sealed.output
