"""A stand-in for the way out: it answers from a script and remembers what it was asked."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors._base import Connector, Http, HttpReply, Order, PayoutUpdate, Rejected, Submission


@dataclass(frozen=True)
class Sent:
    """One request that a connector made."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body or b"null")


class ScriptedHttp:
    """Answers each request with the next line of the script: a reply, or an error to raise. The last line repeats."""

    def __init__(self, *script: HttpReply | Exception) -> None:
        self.script = list(script)
        self.sent: list[Sent] = []

    async def send(self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None = None) -> HttpReply:
        """Play the next line."""
        self.sent.append(Sent(method, url, headers, body))
        line = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(line, Exception):
            raise line
        return line


def a_reply(status: int, body: object = None, **headers: str) -> HttpReply:
    """Return a gateway's answer; a body that is not bytes becomes JSON."""
    written = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpReply(status, {name.replace("_", "-"): value for name, value in headers.items()}, written)


async def hand_over(connector: Connector, order: Order, http: Http) -> Submission:
    """Prepare where the gateway wants it, and submit: what a worker does, without the record in between."""
    if connector.PREPARES:
        prepared = await connector.prepare(order, http)
        if isinstance(prepared, Rejected):
            return prepared
        order = replace(order, memento=prepared)
    return await connector.submit(order, http)


async def everything(items: AsyncIterator[PayoutUpdate]) -> list[PayoutUpdate]:
    """Return all that an asynchronous iterator yields."""
    return [item async for item in items]
