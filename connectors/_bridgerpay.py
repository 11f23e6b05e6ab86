"""How BridgerPay wraps its answers, and how its reads keep a token: what its calls share beneath the connector."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from connectors._base import Http, HttpReply, Rejected, UnreadableEvent
from connectors._calls import is_accepted, refusal, rejected
from connectors._json import Fields, document, exact_document
from connectors._tokens import tokens_of

HTTP_CODES: Final = range(100, 600)


@dataclass(frozen=True)
class Unwrapped:
    """A way out whose replies have the status that stands in the envelope, where HTTP itself says yes."""

    http: Http

    async def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Send one request. An envelope that cannot be read leaves the status alone: reading the answer will fail."""
        reply = await self.http.send(method, url, headers=headers, body=body)
        code = _code(reply.body) if is_accepted(reply) else None
        return reply if code is None else replace(reply, status=code)


@dataclass(frozen=True)
class Reads:
    """A way out for reads: with a token, and with a new one where the gateway refuses the old."""

    http: Http
    account: str
    login: Callable[[], Awaitable[str]]

    async def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Send one request, and once more after a 401: a read may be repeated, and a token does not live for ever."""
        reply = await self._send(method, url, headers, body)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            reply = await self._send(method, url, headers, body)
        return reply

    async def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> HttpReply:
        tokens = tokens_of(self.http)
        token = await tokens.get(self.account, self.login)
        headers = {**headers, "Authorization": f"Bearer {token}"}
        reply = await Unwrapped(self.http).send(method, url, headers=headers, body=body)
        if reply.status == HTTPStatus.UNAUTHORIZED:
            tokens.forget(self.account, token)
        return reply


def result_of(body: bytes) -> Fields:
    """Return what the envelope holds. Raises `UnreadableEvent` for an answer without one."""
    answer = Fields.of(exact_document(body))
    if _code(body) is None:
        raise UnreadableEvent("response.code is missing")
    return answer.within("result")


def rejection(reply: HttpReply) -> Rejected:
    """Return a refusal: the first invalid field is the code, or else the envelope's own message."""
    words = refusal(reply)
    faults = words.get("result")
    if isinstance(faults, list) and faults and isinstance(faults[0], dict):
        return rejected(reply, faults[0].get("field") or faults[0].get("type"), faults[0].get("message"))
    response = words.get("response")
    return rejected(reply, None, response.get("message") if isinstance(response, dict) else None)


def _code(body: bytes) -> int | None:
    """Return `response.code`, None where there is none that HTTP would know."""
    try:
        response: Any = Fields.of(document(body)).values.get("response")
    except UnreadableEvent:
        return None
    code = response.get("code") if isinstance(response, dict) else None
    return code if type(code) is int and code in HTTP_CODES else None
