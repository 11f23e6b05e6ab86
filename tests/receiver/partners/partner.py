"""A partner: shows its key and asks over real HTTP, each request on a connection of its own."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any

from models.api_key import Scope
from models.database import transaction
from payouts.keys import Minted, mint
from receiver.problems import MEDIA_TYPE
from tests.factories import an_organisation


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The machine-readable code of a problem document, which this has to be."""
        assert self.headers["content-type"] == MEDIA_TYPE, self
        assert self.json["status"] == self.status
        return str(self.json["code"])

    @property
    def pointers(self) -> list[str]:
        """What a refused body's errors point at."""
        assert self.code == "invalid_request", self.body
        return [fault["pointer"] for fault in self.json["errors"]]


@dataclass
class Partner:
    port: int
    key: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        """POST `body` as JSON; bytes go as they are."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.ask("POST", path, raw, **{"content_type": "application/json", **headers})

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        sent = {"authorization": f"Bearer {self.key}", **self.headers}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {name: value for name, value in sent.items() if value})
            answer = connection.getresponse()
            head = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, head, answer.read())
        finally:
            connection.close()


def a_key(
    organisation: str = "Acme",
    *,
    test_mode: bool = False,
    scopes: Collection[Scope] = tuple(Scope),
    expires_in: timedelta | None = None,
) -> Minted:
    """Return a new key."""
    owner, now = an_organisation(organisation), datetime.now(UTC)
    expires_at = now + expires_in if expires_in else None
    with transaction() as session:
        return mint(session, owner, test_mode=test_mode, scopes=scopes, expires_at=expires_at, actor="test", now=now)
