"""`ratchet gateways check`: send a signed and a forged sample through a running receiver, and say what happened."""

import asyncio
import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import click

from cli._doors import near
from cli._print import Finding, actor, findings, json_option
from cli._when import Length
from cli.gateways import one
from connectors._base import HttpReply, InvalidSignature, NoReply, NotSent, Reason, WebhookRequest
from models.audit import record
from models.database import transaction
from models.inbox import InboxState
from models.sealed import CannotOpen
from payouts.integrations import Connected, connect
from payouts.trial import Trial, look, put_away
from settings import settings

if TYPE_CHECKING:
    from sandbox.news import News

MARKER: Final = "ratchet-check-"
"""What every id of a sample begins with."""
ANSWER_SECONDS: Final = 10.0
LOOK_AGAIN_SECONDS: Final = 0.05


@click.command()
@click.argument("slug")
@click.option("--url", help="Where the receiver is, if not on this machine: https://hooks.example")
@click.option("--wait", "wait_seconds", type=Length(0, 300), default=10.0, show_default=True)
@json_option
def check(slug: str, *, url: str | None, wait_seconds: float, as_json: bool) -> None:
    """Send SLUG's receiver a signed sample and a forged one, and say what happened. Exit status 1 if anything is wrong.

    The sample is news of a payout that nobody has. It changes nothing, and what it leaves in the inbox is put away.
    """
    if url is not None and not url.startswith(("https://", "http://")):
        raise click.BadParameter("must start with https:// or http://", param_hint="--url")
    trial = _Check(_connected(slug), (url or f"http://{near(settings().receiver_port)}").rstrip("/"), wait_seconds)
    found = trial.run()
    is_well = all(good for _, good, _ in found)
    with transaction() as session:
        who, entity = actor(), f"integration:{slug}"
        after, now = {"is_well": is_well}, datetime.now(UTC)
        record(session, actor=who, action="integration.checked", entity=entity, before=None, after=after, now=now)
    findings(found, as_json=as_json)
    if not is_well:
        raise click.exceptions.Exit(1)


def _connected(slug: str) -> Connected:
    with transaction() as session:
        try:
            return connect(one(session, slug))
        except (CannotOpen, LookupError) as error:
            raise click.ClickException(f"{slug} cannot be opened: {error}") from None


@dataclass
class _Check:
    """One integration, tried out through one receiver."""

    integration: Connected = field(repr=False)
    url: str
    wait_seconds: float

    def __post_init__(self) -> None:
        connector = self.integration.connector
        self.path = f"/webhooks/{self.integration.slug}"
        self.options = {name: connector.option(name) for name in connector.OPTIONS}
        self.secrets = self.integration.secrets.live(datetime.now(UTC))

    def run(self) -> list[Finding]:
        """Look at the secrets, then at what the receiver does."""
        slug = self.integration.slug
        if not self.integration.is_active:
            return [("integration", False, f"disabled: its webhooks get 404; `ratchet gateways enable {slug}`")]
        from sandbox.news import NoSample

        try:
            return [*self._secrets(), *self._forged(), *self._signed()]
        except NoSample as error:
            return [("sample", False, str(error))]

    def _secrets(self) -> list[Finding]:
        if not self.secrets and self.integration.connector.REQUIRES_WEBHOOK_SECRET:
            mend = f"`ratchet gateways rotate {self.integration.slug} --webhook-secret …`"
            return [("secret", False, f"none: every webhook gets 403; {mend}")]
        unreadable = [number for number, secret in enumerate(self.secrets, 1) if not self._is_readable(secret)]
        if unreadable:
            which = ", ".join(map(str, unreadable))
            detail = f"number {which} of {len(self.secrets)} is no key of this gateway's form, or an option is missing"
            return [("secret", False, f"{detail}: see {self.integration.connector.name}.py")]
        return [("secret", True, f"{len(self.secrets)} live, each readable")]

    def _is_readable(self, secret: str) -> bool:
        """Say whether the connector makes a key of it: otherwise it says so before it looks at anything else."""
        try:
            self.integration.connector.verify(self._request(self._forgery(secret)), [secret], datetime.now(UTC))
        except InvalidSignature as refusal:
            return refusal.reason is not Reason.NO_SECRET_CONFIGURED
        return True

    def _forged(self) -> list[Finding]:
        news = self._forgery(next(iter(self.secrets), ""))
        reply, took = self._post(news)
        if isinstance(reply, str):
            return [("forged sample", False, reply)]
        if reply.status == HTTPStatus.OK:
            self._put_away(news)
            return [("forged sample", False, "ACCEPTED: anybody can send this integration news; disable it now")]
        expected = HTTPStatus.UNAUTHORIZED if self.secrets else HTTPStatus.FORBIDDEN
        return [("forged sample", reply.status == expected, f"{_said(reply)}, {took}")]

    def _signed(self) -> list[Finding]:
        if not self.secrets:
            return []
        from sandbox.news import OnlyTheGatewaySigns, signed

        try:
            news = signed(self._connector, self._newest(), _marker(), time.time(), self.options)
        except OnlyTheGatewaySigns:
            detail = "cannot be made here: only the gateway has the private key; have it send a test event"
            return [("signed sample", True, detail)]
        except ValueError:
            return [("signed sample", False, "cannot be made: the newest secret is no key")]
        reply, took = self._post(news)
        if isinstance(reply, str):
            return [("signed sample", False, reply)]
        if reply.status != HTTPStatus.OK:
            return [("signed sample", False, f"{_said(reply)}, {took}{_mend(reply)}")]
        return [("signed sample", True, f"{_said(reply)}, {took}"), self._stored(news)]

    def _stored(self, news: "News") -> Finding:
        trial = self._wait(news)
        if trial is None:
            return ("inbox", False, "not stored in this database: is the receiver of another installation?")
        self._put_away(news)
        event = f"inbox event {trial.inbox_event}"
        if trial.state is InboxState.UNMATCHED:
            return ("inbox", True, f"{event}, unmatched as it should be{_after(trial)}; put away")
        return ("inbox", False, f"{event}, {_WRONG.get(trial.state, '{0.state}: {0.detail}').format(trial)}")

    def _wait(self, news: "News") -> Trial | None:
        key = self.integration.connector.event_key(self._request(news))
        give_up_at = time.monotonic() + self.wait_seconds
        while True:
            with transaction() as session:
                trial = look(session, self.integration.id, key)
            if trial is None or trial.state is not InboxState.NEW or time.monotonic() >= give_up_at:
                return trial
            time.sleep(LOOK_AGAIN_SECONDS)

    def _put_away(self, news: "News") -> None:
        key = self.integration.connector.event_key(self._request(news))
        with transaction() as session:
            put_away(session, self.integration.id, key)

    @property
    def _connector(self) -> str:
        return self.integration.connector.name

    def _newest(self) -> str:
        """Return a secret that can sign, rather than a public key that stands beside it."""
        return next((secret for secret in self.secrets if not secret.strip().startswith("whpk_")), self.secrets[0])

    def _forgery(self, pinned: str) -> "News":
        from sandbox.forgeries import forged

        return forged(self._connector, pinned, self.path, _marker(), time.time(), self.options)

    def _request(self, news: "News") -> WebhookRequest:
        headers = [(name.lower().encode(), value.encode()) for name, value in news.headers]
        return WebhookRequest(headers, news.body, path=self.path)

    def _post(self, news: "News") -> tuple[HttpReply | str, str]:
        """Send it. Returns the answer, or why there is none, and how long it took."""
        started = time.perf_counter()
        reply = asyncio.run(_send(self.url + self.path, news))
        return reply, f"{(time.perf_counter() - started) * 1000:.0f} ms"


async def _send(url: str, news: "News") -> HttpReply | str:
    from connectors._http import AiohttpHttp

    async with AiohttpHttp(ANSWER_SECONDS) as http:
        try:
            return await http.send("POST", url, headers=dict(news.headers), body=news.body)
        except (NotSent, NoReply) as error:
            return f"nobody answers ({error}): is `ratchet up` running, is --url right?"


def _marker() -> str:
    return MARKER + secrets.token_hex(8)


def _said(reply: HttpReply) -> str:
    """Return what the receiver said, in one line."""
    words = _problem(reply)
    said = [str(words[name]) for name in ("code", "detail") if words.get(name)]
    return " ".join([str(reply.status), *(["stored"] if reply.status == HTTPStatus.OK else said)])


def _problem(reply: HttpReply) -> dict[str, Any]:
    try:
        words = json.loads(reply.body)
    except ValueError:
        return {}
    return words if isinstance(words, dict) else {}


def _mend(reply: HttpReply) -> str:
    code = _problem(reply).get("code")
    return f": {_MENDING[code]}" if code in _MENDING else ": is this our receiver, and does a proxy change requests?"


def _after(trial: Trial) -> str:
    if trial.set_aside_at is None:
        return ""
    return f" after {(trial.set_aside_at - trial.received_at).total_seconds() * 1000:.0f} ms"


_WRONG: Final = {
    InboxState.NEW: "stored and not applied yet: is a worker running? It is put away",
    InboxState.APPLIED: "taken for something else than news of a payout: look at the integration's options",
    InboxState.UNREADABLE: "cannot be read ({0.detail}): look at the integration's options",
}
_MENDING: Final = {
    "invalid_signature": "a receiver knows a new secret after some seconds; else a proxy changes body or headers",
    "unknown_integration": "a receiver knows a new integration after some seconds; else it has another database",
    "webhook_secret_missing": "a receiver knows a new secret after some seconds",
    "too_many_requests": "it is busy; try again",
    "not_stored": "it cannot reach its database; `ratchet doctor`",
}
