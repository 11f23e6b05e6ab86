"""Letters about endpoints that we have switched off, handed over to a real server."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select
from structlog.testing import capture_logs

import payouts.letters
import payouts.notices
import workers.mail
from models.database import transaction
from models.notice import Notice
from models.organisation import Organisation
from payouts.endpoints import Reason, switch_off
from payouts.letters import WAITS, due_letters, take_letter
from reconciler.sweep import sweep_letters
from settings import Settings, settings
from tests.concurrency import at_once, wait_until
from tests.factories import an_endpoint
from tests.workers.authority import Authority
from tests.workers.mailbox import Mailbox, a_mailbox
from workers.broker import broker
from workers.mail import mail

NOW = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _quiet(database: None) -> Iterator[None]:
    broker.flush_all()
    with capture_logs():
        yield
    broker.flush_all()


def tell(monkeypatch: pytest.MonkeyPatch, **told: str) -> None:
    known: Settings = replace(settings(), mail_from="ratchet@h.example", **told)  # type: ignore[arg-type]
    for module in (payouts.letters, payouts.notices, workers.mail):
        monkeypatch.setattr(module, "settings", lambda: known)


@pytest.fixture
def box(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mailbox]:
    with a_mailbox() as box:
        tell(monkeypatch, smtp_url=f"smtp://127.0.0.1:{box.port}", mail_to="ops@h.example")
        yield box


def an_endpoint_switched_off(contact: str | None = "ada@partner.example", description: str = "ours") -> str:
    """Return the id of the notice that tells of it."""
    endpoint = an_endpoint(description=description, failing_since=NOW - timedelta(days=5))
    with transaction() as session:
        session.get_one(Organisation, endpoint.organisation_id).contact_email = contact
    with transaction() as session:
        return switch_off(session, endpoint.id, Reason.FAILING, NOW).id


def notice(notice_id: str) -> Notice:
    with transaction() as session:
        return session.get_one(Notice, notice_id)


def test_partner_and_operators_are_written_to_once(box: Mailbox) -> None:
    notice_id = an_endpoint_switched_off()

    mail([notice_id])
    wait_until(lambda: notice(notice_id).mailed_at is not None)
    mail([notice_id])

    (letter,) = box.letters
    assert box.recipients == [["ada@partner.example", "ops@h.example"]]
    assert (letter["From"], letter["To"]) == ("ratchet@h.example", "ada@partner.example")
    assert letter["Subject"] == "Webhook endpoint switched off: ours"
    assert "Nothing but failure since 2026-05-07T09:15:00Z" in letter.get_content()
    assert notice(notice_id).next_mail_at is None


def test_the_reconciler_queues_what_is_due(box: Mailbox) -> None:
    notice_id = an_endpoint_switched_off()

    sweep_letters()

    assert broker.client.llen("ratchet:mail") == 1
    with transaction() as session:
        assert due_letters(session, NOW) == [notice_id]


def test_without_a_mail_server_no_letter_is_ever_due() -> None:
    assert notice(an_endpoint_switched_off()).next_mail_at is None


def test_where_nobody_is_to_be_written_to_the_letter_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, smtp_url="smtp://127.0.0.1:9", mail_to="")
    notice_id = an_endpoint_switched_off(contact=None)

    with transaction() as session:
        assert take_letter(session, notice_id, NOW) is None

    assert (notice(notice_id).next_mail_at, notice(notice_id).mailed_at) == (None, None)


def test_two_workers_send_one_letter(box: Mailbox) -> None:
    notice_id = an_endpoint_switched_off()

    at_once(*[lambda: mail([notice_id])] * 4)
    wait_until(lambda: notice(notice_id).mailed_at is not None)

    assert len(box.letters) == 1


@pytest.mark.parametrize("is_away", [True, False])
def test_a_server_that_is_away_or_refuses_is_tried_again_later(
    monkeypatch: pytest.MonkeyPatch, *, is_away: bool
) -> None:
    with a_mailbox(refuses=True) as box:
        port = 9 if is_away else box.port
        tell(monkeypatch, smtp_url=f"smtp://127.0.0.1:{port}", mail_to="")
        notice_id = an_endpoint_switched_off()
        before = datetime.now(UTC)

        mail([notice_id])
        wait_until(lambda: _wait(notice_id, before) < 1.5 * WAITS[0])

    assert _wait(notice_id, before) >= WAITS[0]
    assert notice(notice_id).mail_attempts == 1
    assert box.letters == []


def _wait(notice_id: str, since: datetime) -> timedelta:
    next_mail_at = notice(notice_id).next_mail_at
    assert next_mail_at
    return next_mail_at - since


def test_a_letter_that_nobody_takes_is_given_up_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    tell(monkeypatch, smtp_url="smtp://127.0.0.1:9", mail_to="")
    notice_id = an_endpoint_switched_off()

    for number in range(1, len(WAITS) + 2):
        with transaction() as session:
            found = session.get_one(Notice, notice_id)
            assert found.next_mail_at is not None
            found.next_mail_at = NOW
        mail([notice_id])
        wait_until(lambda number=number: _is_over(notice_id, number))

    assert (notice(notice_id).next_mail_at, notice(notice_id).mailed_at) == (None, None)


def _is_over(notice_id: str, attempts: int) -> bool:
    found = notice(notice_id)
    leased = timedelta(minutes=1, seconds=30) < (found.next_mail_at or NOW) - datetime.now(UTC) <= timedelta(minutes=2)
    return found.mail_attempts == attempts and not leased


def test_a_name_cannot_add_a_header(box: Mailbox) -> None:
    notice_id = an_endpoint_switched_off(description="ours\r\nBcc: everybody@h.example")

    mail([notice_id])
    wait_until(lambda: len(box.letters) == 1)

    assert box.letters[0]["Bcc"] is None
    assert box.recipients[0] == ["ada@partner.example", "ops@h.example"]


def test_a_password_goes_over_an_encrypted_connection_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with a_mailbox(tls=authority.context("127.0.0.1")) as good, a_mailbox() as plain:
        for box in (good, plain):
            tell(monkeypatch, smtp_url=f"smtp://ada:p%40ss@127.0.0.1:{box.port}", mail_to="")
            notice_id = an_endpoint_switched_off()
            mail([notice_id])
            wait_until(lambda notice_id=notice_id: _is_settled(notice_id))

    assert (good.logins, good.encrypted) == ([("ada", "p@ss", True)], [True])
    assert (plain.logins, plain.letters) == ([], [])


def _is_settled(notice_id: str) -> bool:
    found = notice(notice_id)
    return found.mailed_at is not None or _is_over(notice_id, 1)


def test_the_notice_itself_never_names_the_address(box: Mailbox) -> None:
    an_endpoint_switched_off()

    with transaction() as session:
        (found,) = session.exec(select(Notice)).all()
    assert "partner.example" not in found.payload
