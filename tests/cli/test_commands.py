"""The commands as an operator types them, on a real database."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from click.testing import CliRunner, Result
from sqlmodel import select

from cli import ratchet
from models import schema
from models.audit import AuditLine
from models.database import transaction
from models.integration import Integration
from models.lifecycle import PayoutStatus
from tests.factories import SECRET, a_payout, an_endpoint, an_integration, say

pytestmark = pytest.mark.usefixtures("database")

ADD = ["gateways", "add", "paycore", "paycore-eu"]
CREDENTIALS = ["--credential", "account_id=coma_1", "--credential", "api_key=sk_test_planted"]


def run(*words: str) -> Result:
    return CliRunner().invoke(ratchet, words)


@pytest.mark.parametrize(
    "secrets",
    [[], ["--webhook-secret", ""], ["--webhook-secret", "   "], ["--webhook-secret", "good", "--webhook-secret", ""]],
)
def test_an_integration_is_not_added_without_a_real_webhook_secret(secrets: Sequence[str]) -> None:
    result = run(*ADD, *secrets, *CREDENTIALS)

    assert result.exit_code == 2
    assert "secret" in result.output
    with transaction() as session:
        assert session.exec(select(Integration)).all() == []


def test_an_integration_without_secret_can_be_added_only_on_purpose_and_the_doctor_says_so() -> None:
    added = run(*ADD, "--no-webhook-secret", *CREDENTIALS)
    doctor = run("doctor")

    assert added.exit_code == 0
    assert "403" in added.output
    assert doctor.exit_code == 1
    assert "no webhook secret" in doctor.output


def test_secrets_and_credentials_are_never_listed() -> None:
    run(*ADD, "--webhook-secret", "planted-secret", *CREDENTIALS)

    listed = run("gateways", "list")
    as_json = run("gateways", "list", "--json")

    assert "paycore-eu" in listed.output
    assert json.loads(as_json.output)[0]["has_webhook_secret"] is True
    assert "planted" not in listed.output + as_json.output


def test_a_slug_is_taken_once() -> None:
    run(*ADD, "--webhook-secret", SECRET, *CREDENTIALS)

    again = run(*ADD, "--webhook-secret", SECRET, *CREDENTIALS)

    assert again.exit_code == 1
    assert "already" in again.output


def test_a_rotated_secret_verifies_at_once_and_the_old_one_until_its_time() -> None:
    integration = an_integration(slug="paycore-eu", webhook_secrets=("old",))

    rotated = run("gateways", "rotate", "paycore-eu", "--webhook-secret", "new", "--keep-old-hours", "2")

    assert rotated.exit_code == 0
    with transaction() as session:
        secrets = session.get_one(Integration, integration.id).secrets()
    assert secrets.live(datetime.now(UTC)) == ("new", "old")
    assert secrets.live(datetime.now(UTC) + timedelta(hours=3)) == ("new",)


def test_after_a_leak_the_old_secret_is_cut_at_once() -> None:
    integration = an_integration(slug="paycore-eu", webhook_secrets=("leaked",))

    run("gateways", "rotate", "paycore-eu", "--webhook-secret", "new", "--keep-old-hours", "0")

    with transaction() as session:
        assert session.get_one(Integration, integration.id).secrets().live(datetime.now(UTC)) == ("new",)


def test_rotating_refuses_an_empty_secret_and_an_empty_wish() -> None:
    an_integration(slug="paycore-eu")

    assert run("gateways", "rotate", "paycore-eu", "--webhook-secret", " ").exit_code == 2
    assert run("gateways", "rotate", "paycore-eu").exit_code == 2


@pytest.mark.parametrize("slug", ["UPPER", "with/slash", "-dash", "", "x" * 64, "a b"])
def test_a_slug_is_safe_in_a_url(slug: str) -> None:
    result = run("gateways", "add", "paycore", slug, "--webhook-secret", SECRET)

    assert result.exit_code == 2


def test_an_unknown_connector_names_those_there_are() -> None:
    result = run("gateways", "add", "nobody", "nobody-eu", "--webhook-secret", SECRET)

    assert result.exit_code == 2
    assert "mollie" in result.output


def test_a_disabled_integration_is_shown_as_disabled_and_can_be_enabled() -> None:
    an_integration(slug="paycore-eu")

    run("gateways", "disable", "paycore-eu")
    disabled = json.loads(run("gateways", "list", "--json").output)[0]["is_active"]
    run("gateways", "enable", "paycore-eu")

    assert disabled is False
    assert json.loads(run("gateways", "list", "--json").output)[0]["is_active"] is True


def test_disabling_what_is_not_there_names_what_is() -> None:
    an_integration(slug="paycore-eu")

    result = run("gateways", "disable", "paycore-us")

    assert result.exit_code == 1
    assert "paycore-eu" in result.output


def test_an_endpoints_secret_is_shown_once() -> None:
    added = run("endpoints", "add", "Acme", "https://partner.example/hooks")
    secret = added.output.splitlines()[1]

    listed = run("endpoints", "list", "--json")

    assert secret.startswith("whsec_")
    assert secret not in listed.output
    assert json.loads(listed.output)[0]["url"] == "https://partner.example/hooks"


def test_a_payout_is_added_and_shown_with_the_evidence_for_every_step() -> None:
    an_integration(slug="paycore-eu")
    an_endpoint()

    added = run(
        "payouts", "add", "paycore-eu", "Acme", "250.00", "EUR", "--order-key", "tx-1:1", "--reference", "cpoi_1"
    )
    shown = run("payouts", "show", added.stdout.strip())

    assert added.exit_code == 0
    assert shown.exit_code == 0
    assert "250.00 EUR" in shown.output
    assert "born → pending" in shown.output


def test_a_payout_shows_what_its_gateway_said() -> None:
    payout = a_payout()
    say(payout, PayoutStatus.BROADCAST)
    say(payout, PayoutStatus.INITIATED)

    shown = run("payouts", "show", payout.id)

    assert "webhook said" in shown.output
    assert "stale" in shown.output
    assert json.loads(run("payouts", "show", payout.id, "--json").output)["payout"]["status"] == "broadcast"


@pytest.mark.parametrize(
    ("amount", "currency"), [("1.005", "EUR"), ("-1", "EUR"), ("1e3", "EUR"), ("1", "XXQ"), ("", "EUR")]
)
def test_an_amount_that_cannot_be_held_exactly_is_refused(amount: str, currency: str) -> None:
    an_integration(slug="paycore-eu")
    an_endpoint()

    result = run("payouts", "add", "paycore-eu", "Acme", "--order-key", "k", "--", amount, currency)

    assert result.exit_code == 2


def test_a_payout_at_a_gateway_without_secret_is_refused_with_its_code() -> None:
    an_integration(slug="paycore-eu", webhook_secrets=())
    an_endpoint()

    result = run("payouts", "add", "paycore-eu", "Acme", "1.00", "EUR", "--order-key", "k")

    assert result.exit_code == 1
    assert "webhook_secret_missing" in result.output


def test_the_same_order_key_is_refused_the_second_time() -> None:
    an_integration(slug="paycore-eu")
    an_endpoint()
    words = ("payouts", "add", "paycore-eu", "Acme", "1.00", "EUR", "--order-key", "k", "--reference", "r")

    first, second = run(*words), run(*words)

    assert first.exit_code == 0
    assert second.exit_code == 1
    assert "payout_exists" in second.output


def test_nothing_stuck_says_so_and_something_stuck_says_why() -> None:
    nothing = run("stuck")
    payout = a_payout(status=PayoutStatus.INITIATED, is_disputed=True, dispute="amount_differs")

    something = json.loads(run("stuck", "--json").output)

    assert "nothing is stuck" in nothing.output
    assert [row["id"] for row in something["stuck"]] == [payout.id]
    assert something["stuck"][0]["reason"] == "disputed"


def test_the_report_is_filtered_by_the_words_that_it_prints() -> None:
    payout = a_payout(status=PayoutStatus.INITIATED, is_disputed=True, dispute="amount_differs")

    found = json.loads(run("stuck", "--json", "--status", "initiated", "--reason", "disputed").output)
    others = json.loads(run("stuck", "--json", "--status", "broadcast").output)

    assert [row["id"] for row in found["stuck"]] == [payout.id]
    assert others["stuck"] == []


def test_the_doctor_finds_servers_and_schema_well() -> None:
    findings = {finding["check"]: finding for finding in json.loads(run("doctor", "--json").output)}

    assert findings["database"]["ok"]
    assert findings["queue"]["ok"]
    assert findings["migrations"]["ok"]
    assert findings["clocks"]["ok"]
    assert not findings["reconciler"]["ok"]
    assert "python -m reconciler" in findings["reconciler"]["detail"]


def test_migrate_twice_changes_nothing_the_second_time() -> None:
    result = run("migrate")

    assert result.exit_code == 0
    assert f"{schema.wanted()} → {schema.wanted()}" in result.output


def test_a_key_is_shown_once_and_listed_by_its_end() -> None:
    minted = run("keys", "mint", "Acme", "--live", "--scope", "payouts.read", "--name", "reports")
    key_id, key = minted.stdout.splitlines()

    listed = json.loads(run("keys", "list", "--json").output)

    assert key.startswith("sk_live_")
    assert [(row["id"], row["key"], row["scopes"], row["opens"]) for row in listed] == [
        (key_id, f"sk_live_…{key[-4:]}", ["payouts.read"], True)
    ]
    assert key not in run("keys", "list").output


def test_a_rotated_key_ends_after_its_grace_and_a_revoked_one_now() -> None:
    key_id, _ = run("keys", "mint", "Acme").stdout.splitlines()

    successor_id, successor = run("keys", "rotate", key_id, "--keep-old-hours", "2").stdout.splitlines()
    run("keys", "revoke", successor_id)

    rows = {row["id"]: row for row in json.loads(run("keys", "list", "--json").output)}
    assert successor.startswith("sk_test_")
    assert rows[key_id]["opens"] is True
    assert rows[key_id]["expires_at"] is not None
    assert rows[successor_id]["opens"] is False
    assert run("keys", "rotate", successor_id).exit_code == 1
    assert "unknown_key" in run("keys", "revoke", "key_0").output


def test_the_report_is_narrowed_by_the_words_that_it_prints() -> None:
    assert run("stuck", "--status", "pending", "--reason", "gateway_silent").exit_code == 0
    assert run("stuck", "--status", "PENDING").exit_code == 2


@pytest.mark.parametrize(
    "words",
    [
        ("gateways", "rotate", "paycore-eu", "--webhook-secret", "new", "--keep-old-hours"),
        ("gateways", "check", "paycore-eu", "--wait"),
        ("endpoints", "rotate", "ep_1", "--keep-old-hours"),
        ("keys", "mint", "Acme", "--days"),
        ("keys", "rotate", "key_1", "--keep-old-hours"),
        ("switches", "throw", "everything", "--reason", "why", "--hours"),
    ],
)
def test_how_long_is_never_without_a_bound(words: Sequence[str]) -> None:
    assert (run(*words, "1e300").exit_code, run(*words, "nan").exit_code) == (2, 2)


@pytest.mark.parametrize("more", [(), ("--json",)])
@pytest.mark.parametrize(("option", "known"), [("--gateway", "mollie"), ("--integration", "mollie-eu")])
def test_a_typing_error_is_no_all_clear(option: str, known: str, more: Sequence[str]) -> None:
    an_integration("mollie", slug="mollie-eu")

    mistyped, right = run("stuck", option, "molie", *more), run("stuck", option, known, *more)

    assert (mistyped.exit_code, right.exit_code) == (1, 0)
    assert known in mistyped.output
    assert "nothing is stuck" not in mistyped.output


# --- options of an integration


def _options_of(slug: str) -> dict[str, object]:
    with transaction() as session:
        return session.exec(select(Integration).where(Integration.slug == slug)).one().options


@pytest.mark.parametrize(
    ("connector", "option", "value"),
    [
        ("pawapay", "required_components=@method, @path", {"required_components": ["@method", "@path"]}),
        ("pawapay", "tolerance_seconds=none", {"tolerance_seconds": None}),
        ("stripe", "tolerance_seconds=60", {"tolerance_seconds": 60}),
        ("adyen", "can_read=no", {"can_read": False}),
        ("standard_webhooks", "type_path=", {"type_path": ""}),
        ("standard_webhooks", "statuses=paid=delivered", {"statuses": "paid=delivered"}),
        ("fedapay", "visibility_minutes=90", {"visibility_minutes": 90}),
        ("mollie", "silence_hours=pending=12, broadcast=36.5", {"silence_hours": {"pending": 12, "broadcast": 36.5}}),
        ("circle", "silence_hours=initiated=0.5", {"silence_hours": {"initiated": 0.5}}),
    ],
)
def test_an_option_is_read_in_the_type_of_its_default(connector: str, option: str, value: dict[str, object]) -> None:
    added = run("gateways", "add", connector, "one", "--webhook-secret", "s", "--option", option)

    assert added.exit_code == 0, added.output
    assert _options_of("one") == value


@pytest.mark.parametrize(
    ("connector", "option"),
    [
        ("stripe", "tolerance_seconds=soon"),
        ("stripe", "tolerance_seconds=-1"),
        ("stripe", "tolerance_seconds=0"),
        ("paycore", "page_size=none"),
        ("adyen", "can_read=maybe"),
        ("stripe", "unheard=1"),
        ("stripe", "tolerance_seconds"),
        ("wise", "visibility_minutes=5"),
        ("wise", "silence_hours="),
        ("wise", "silence_hours=12"),
        ("wise", "silence_hours=pending=soon"),
        ("wise", "silence_hours=pending=nan"),
        ("wise", "silence_hours=pending=0"),
        ("wise", "silence_hours=pending=9000"),
        ("wise", "silence_hours=delivered=12"),
    ],
)
def test_an_option_that_makes_no_sense_is_a_usage_error(connector: str, option: str) -> None:
    added = run("gateways", "add", connector, "one", "--webhook-secret", "s", "--option", option)

    assert added.exit_code == 2
    assert "--option" in added.output


def test_options_can_be_changed_and_given_back_and_the_audit_trail_tells() -> None:
    an_integration("paycore", slug="paycore-eu", options={"page_size": 10, "lookback_days": 7})

    changed = run("gateways", "set", "paycore-eu", "--option", "page_size=20", "--default", "lookback_days")

    assert changed.exit_code == 0, changed.output
    assert _options_of("paycore-eu") == {"page_size": 20}
    with transaction() as session:
        line = session.exec(select(AuditLine).where(AuditLine.action == "integration.changed")).one()
    assert (line.before or {})["options"] == {"page_size": 10, "lookback_days": 7}
    assert (line.after or {})["options"] == {"page_size": 20}


def test_how_long_a_payout_may_be_silent_is_an_option_of_every_integration() -> None:
    fedapay = an_integration("fedapay", slug="fedapay-bj")
    a_payout(fedapay, advanced_at=datetime.now(UTC) - timedelta(hours=12))

    def number_stuck(*change: str) -> int:
        assert run("gateways", "set", "fedapay-bj", *change).exit_code == 0
        return int(json.loads(run("stuck", "--json").stdout)["total"])

    assert number_stuck("--option", "silence_hours=pending=13") == 0
    assert number_stuck("--option", "silence_hours=pending=11,initiated=48") == 1
    assert number_stuck("--default", "silence_hours") == 1


def test_setting_nothing_is_a_usage_error() -> None:
    an_integration("paycore", slug="paycore-eu")

    assert run("gateways", "set", "paycore-eu").exit_code == 2
