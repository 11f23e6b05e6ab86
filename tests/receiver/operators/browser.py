"""Asks the operators' door as a browser or a script would, without a socket. Keeps cookies, follows nothing."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

import orjson

HOST = "ops.example"


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


class Browser:
    def __init__(self, accept: str = "text/html,*/*", peer: str = "192.0.2.1") -> None:
        from receiver.app import operators  # the queue's broker reads its settings when it is imported

        self.app = operators()
        self.cookies: dict[str, str] = {}
        self.headers = {"accept": accept, "host": HOST}
        self.peer = peer

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, b"", headers)

    def post(self, target: str, fields: Mapping[str, str], **headers: str) -> Answer:
        form = {"content_type": "application/x-www-form-urlencoded", "sec_fetch_site": "same-origin"}
        return self.ask("POST", target, urlencode(fields).encode(), form | headers)

    def ask(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        path, _, query = target.partition("?")
        sent = self.headers | {name.replace("_", "-"): value for name, value in headers.items() if value}
        if self.cookies:
            sent["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": (self.peer, 1),
            "server": (HOST, 443),
        }
        answer = asyncio.run(self._call(scope, body))
        for morsel in SimpleCookie(answer.headers.get("set-cookie", "")).values():
            self.cookies[morsel.key] = morsel.value
        return answer

    async def _call(self, scope: dict[str, Any], body: bytes) -> Answer:
        messages: list[Any] = []

        asked = iter([{"type": "http.request", "body": body}])

        async def receive() -> dict[str, Any]:
            return next(asked, None) or await asyncio.Future()  # it never hangs up

        async def send(message: Any) -> None:
            messages.append(message)

        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
        return Answer(messages[0]["status"], headers, b"".join(part.get("body", b"") for part in messages[1:]))
