"""Hand letters over to a mail server. It may take its time: no actor's thread waits for it."""

import asyncio
import smtplib
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

import dramatiq
import structlog

from models.database import transaction
from payouts.letters import Letter, letter_failed, letter_sent, take_letter
from settings import settings
from workers.broker import broker
from workers.outside import outside

TIMEOUT_SECONDS: Final = 20.0
NOBODYS_SHARE: Final = -1
"""Letters are no integration's, and have a share of the places outside of their own."""

_log = structlog.get_logger(__name__)


@dramatiq.actor(broker=broker, queue_name="mail")
def mail(notice_ids: list[str]) -> None:
    """Hand over the letters about these notices. Returns before the mail server has answered."""
    for notice_id in notice_ids:
        with transaction() as session:
            letter = take_letter(session, notice_id, datetime.now(UTC))
        if letter:
            outside().start(NOBODYS_SHARE, _hand_over(letter))


def send_mail(notice_ids: Sequence[str]) -> None:
    """Queue letters. Raises one of `QueueAway` while Redis is away."""
    if notice_ids:
        mail.send(list(notice_ids))


async def _hand_over(letter: Letter) -> None:
    try:
        await asyncio.to_thread(_send, letter)
    except (OSError, smtplib.SMTPException, ValueError) as error:
        is_put_off = await asyncio.to_thread(_note, letter, is_sent=False)
        _log.warning("letter.not_sent", notice=letter.notice_id, error=type(error).__name__, again=is_put_off)
    else:
        await asyncio.to_thread(_note, letter, is_sent=True)
        _log.info("letter.sent", notice=letter.notice_id)


def _note(letter: Letter, *, is_sent: bool) -> bool:
    now = datetime.now(UTC)
    with transaction() as session:
        if is_sent:
            letter_sent(session, letter.notice_id, now)
            return False
        return letter_failed(session, letter.notice_id, now)


def _send(letter: Letter) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = settings().mail_from, letter.to[0], letter.subject
    message["Date"], message["Message-ID"] = format_datetime(datetime.now(UTC)), make_msgid(letter.notice_id)
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(letter.text)
    server = urlsplit(settings().smtp_url)
    with _connected(server) as connection:
        if server.scheme == "smtp":
            _encrypt(connection, is_needed=bool(server.username))
        if server.username:
            connection.login(unquote(server.username), unquote(server.password or ""))
        connection.send_message(message, to_addrs=list(letter.to))  # only the first of them is named in it


def _connected(server: SplitResult) -> smtplib.SMTP:
    host = server.hostname or ""
    if server.scheme == "smtps":
        context = ssl.create_default_context()
        return smtplib.SMTP_SSL(host, server.port or 465, timeout=TIMEOUT_SECONDS, context=context)
    return smtplib.SMTP(host, server.port or 587, timeout=TIMEOUT_SECONDS)


def _encrypt(connection: smtplib.SMTP, *, is_needed: bool) -> None:
    """Encrypt where the server can; where a password follows, it must."""
    connection.ehlo()
    if is_needed or connection.has_extn("starttls"):
        connection.starttls(context=ssl.create_default_context())
        connection.ehlo()
