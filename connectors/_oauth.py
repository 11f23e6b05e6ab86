"""Reads behind OAuth 2.0 client credentials (RFC 6749, section 4.4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from connectors._base import GatewayUnavailable, Http, HttpReply
from connectors._calls import is_accepted, prepare, unreadable_means
from connectors._json import Fields, document
from connectors._tokens import account_key, tokens_of

MAX_TOKEN: Final = 8192


@dataclass(frozen=True)
class Login:
    """What a gateway gives a token for."""

    url: str
    form: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def account(self) -> str:
        """A name for these credentials that does not tell them."""
        return account_key(self.url, *self.form.values(), *self.headers.values())

    async def token(self, http: Http) -> str:
        """Log in. Raises `GatewayUnavailable`: nothing else can become of a login."""
        headers = {**self.headers, "Content-Type": "application/x-www-form-urlencoded"}
        reply = await prepare(http, self.url, headers=headers, body=urlencode(self.form).encode())
        if not is_accepted(reply):
            raise GatewayUnavailable(f"login answered {reply.status}")
        with unreadable_means(GatewayUnavailable):
            token = Fields.of(document(reply.body)).prose("access_token", keep=MAX_TOKEN)
        if token is None:
            raise GatewayUnavailable("login gave no token")
        return token


@dataclass(frozen=True)
class Authorized:
    """A way out for reads only: with a token, and once more with a new one where the gateway refuses the old."""

    http: Http
    login: Login

    async def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Send one request. Raises as `Http` does, and `GatewayUnavailable` where the login fails."""
        reply = await self._send(method, url, headers, body)
        return await self._send(method, url, headers, body) if reply.status == HTTPStatus.UNAUTHORIZED else reply

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpReply:
        tokens, account = tokens_of(self.http), self.login.account
        token = await tokens.get(account, lambda: self.login.token(self.http))
        reply = await self.http.send(method, url, headers={**headers, "Authorization": f"Bearer {token}"}, body=body)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            tokens.forget(account, token)
        return reply
