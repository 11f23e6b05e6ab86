"""What the contract suite needs to know about one gateway, and where it finds it: `samples/<name>.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Final

import pytest

import connectors
from connectors._base import Account, Connector, HttpReply, Order, PayoutUpdate, WebhookRequest

Headers = list[tuple[bytes, bytes]]

NOW: Final = datetime(2026, 5, 12, 9, 15, tzinfo=UTC)

HOW_TO_WRITE: Final = """
connectors/{name}.py has no sample. Write tests/connectors/samples/{name}.py with one constant,
    SAMPLE = Sample(secret=…, body=…, sign=…, says=…, body_saying=…, other_subject=…, account=…, order=…, accepted=…)
Each field is described in tests/connectors/sample.py; tests/connectors/samples/mollie.py is a short example.
"""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One gateway's material: a message it would send, how it signs, and how it answers a submission."""

    secret: str
    """A webhook secret, invented."""
    body: bytes
    """A message about one payout, with the gateway's true field names and invented values."""
    sign: Callable[[bytes, str, datetime], Headers]
    """Return the signature headers for body, secret and time. Written from the formula, without our own code."""
    says: PayoutUpdate
    """What `parse(body)` must return."""
    body_saying: Callable[[str], bytes]
    """Return a message whose status is this word of the gateway's."""
    other_subject: bytes
    """A message that is about something other than a payout."""
    signs_time: bool = False
    """Whether the signature covers a time that has to be fresh."""
    account: Account
    """Credentials, invented."""
    order: Order
    """A payout that this gateway would take."""
    accepted: list[HttpReply]
    """The gateway's answers to the calls of one successful `submit`, in order."""

    def request(self, *, body: bytes | None = None, secret: str | None = None, at: datetime = NOW) -> WebhookRequest:
        """Return a signed request, by default the good one."""
        body = self.body if body is None else body
        return WebhookRequest(headers=self.sign(body, secret or self.secret, at), body=body)


def sample_of(name: str) -> Sample:
    """Return a gateway's sample; without one the test fails and says what to write."""
    try:
        module = import_module(f"tests.connectors.samples.{name}")
    except ModuleNotFoundError:
        pytest.fail(HOW_TO_WRITE.format(name=name), pytrace=False)
    sample = module.SAMPLE
    assert isinstance(sample, Sample)
    return sample


def connector_of(name: str, **options: object) -> Connector:
    """Return a gateway's connector with the account of its sample."""
    account = sample_of(name).account
    return connectors.connector_class(name)(Account(credentials=account.credentials, options=options))
