"""What `ratchet gateways new` writes: a connector that refuses everything until its author has filled it in.

The contract suite then tells, test by test, what is missing.
"""

from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).resolve().parent.parent


class AlreadyThere(RuntimeError):
    """One of the files exists; nothing was written."""


def files(name: str) -> dict[Path, str]:
    """Return the new files and what stands in them."""
    words = {"name": name, "title": "".join(part.capitalize() for part in name.split("_"))}
    return {
        PROJECT / "connectors" / f"{name}.py": _CONNECTOR.format(**words),
        PROJECT / "tests" / "connectors" / "samples" / f"{name}.py": _SAMPLE.format(**words),
        PROJECT / "tests" / "connectors" / f"test_{name}.py": _TEST.format(**words),
    }


def write(name: str) -> list[Path]:
    """Write the files, all of them or none. Raises `AlreadyThere`."""
    wanted = files(name)
    present = [path for path in wanted if path.exists()]
    if present:
        raise AlreadyThere(f"{present[0].relative_to(PROJECT)} is there already")
    for path, text in wanted.items():
        path.write_text(text)
    return [path.relative_to(PROJECT) for path in wanted]


_CONNECTOR: Final = '''"""{title}. Say here what is peculiar about it. Source: the gateway's page on payout webhooks."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import ClassVar

from connectors._base import (
    Connector,
    GatewayUnavailable,
    Http,
    InvalidSignature,
    NotFound,
    PayoutUpdate,
    Reason,
    UnreadableEvent,
    Verified,
    WebhookRequest,
)
from connectors._json import digest_key
from models.lifecycle import PayoutStatus

STATUSES: Mapping[str, PayoutStatus] = MappingProxyType(
    {{
        # every word the gateway documents, and ours
    }}
)


class {title}(Connector):
    """Listens only, until `submit` is written and SUPPORTS_PAYOUTS is true."""

    name = "{name}"
    DOCUMENTATION = ""
    BASE_URL = ""
    CREDENTIALS = ()
    STATUSES: ClassVar[Mapping[str, PayoutStatus]] = STATUSES
    SUPPORTS_PAYOUTS = False

    def verify(self, request: WebhookRequest, secrets: Sequence[str], now: datetime) -> Verified:
        """Refuse everything until the gateway's scheme stands here; see connectors/_signatures.py for blocks."""
        raise InvalidSignature(Reason.NO_SECRET_CONFIGURED)

    def event_key(self, request: WebhookRequest) -> str:
        """Return a digest of the body until the gateway's own event id is read here."""
        return digest_key(request.body)

    def parse(self, body: bytes) -> list[PayoutUpdate]:
        """Read nothing until the gateway's form is read here; see connectors/_json.py."""
        raise UnreadableEvent("no form is known yet")

    async def fetch(self, reference: str | None, order_key: str, http: Http) -> PayoutUpdate | NotFound:
        """Learn nothing until the gateway's read call stands here; see connectors/_calls.py."""
        raise GatewayUnavailable("no read call is known yet")
'''

_SAMPLE: Final = '''"""{title}: a message as it sends it, with its true field names and invented values."""

from datetime import datetime

from connectors._base import Account, PayoutUpdate
from models.lifecycle import PayoutStatus
from tests.connectors.sample import Headers, Sample


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign as {title} does: written from its formula, without our own code."""
    del body, secret, at
    return []


SAMPLE = Sample(
    secret="invented",
    body=b"",
    sign=sign,
    says=PayoutUpdate(reference=None, status=PayoutStatus.PENDING, said=""),
    body_saying=lambda word: word.encode(),
    other_subject=b"",
    account=Account(),
)
'''

_TEST: Final = '''"""What is peculiar about {title}; the contract suite covers what every connector must do."""

from tests.connectors.sample import connector_of


def test_every_documented_word_is_mapped() -> None:
    assert connector_of("{name}").STATUSES
'''
