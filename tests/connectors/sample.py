"""What the contract suite needs to know about one gateway, and where it finds it: `samples/<name>.py`."""

from collections.abc import Callable, Sequence
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
without order and accepted where it only listens. Each field is described in tests/connectors/sample.py;
tests/connectors/samples/mollie.py is a short example.
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
    """Credentials and options, invented."""
    other_secrets: tuple[str, ...] = ("invented-and-wrong", "another")
    """Secrets that did not sign; of the gateway's own form where it has one."""
    order: Order | None = None
    """A payout that this gateway would take. Not for a connector that only listens."""
    accepted: Sequence[HttpReply] = ()
    """The gateway's answers to the calls of one successful `submit`, in order. Not for one that only listens."""
    fetched: HttpReply | None = None
    """The gateway's answer to the read of the payout in `body`, where the suite should try it."""
    reads_by_key: bool = False
    """Whether one payout can be read by our key alone, so that 404 is about it and not about a list."""
    moves_from: int = 0
    """Which call of `accepted` is the first that can move money; before it, a lost answer has moved nothing."""
    replays: int = 0
    """How often a call that moves money is repeated under the same idempotency key before its outcome is unknown."""
    absent: Sequence[HttpReply] = (HttpReply(404, {}, b"{}"),)
    """The gateway's answers, in order, when it is asked about a reference that it does not have."""
    names_its_status: bool = True
    """False where a message only says which payout has news."""
    hints_only: bool = False
    """Whether its webhooks only make us ask: every update of `parse` has no status."""

    @property
    def payable(self) -> Order:
        """The order of a gateway that pays; without one the test fails and says what to write."""
        if self.order is None or not self.accepted:
            pytest.fail("SUPPORTS_PAYOUTS is true: the sample needs order and accepted", pytrace=False)
        return self.order

    def request(self, *, body: bytes | None = None, secret: str | None = None, at: datetime = NOW) -> WebhookRequest:
        """Return a signed request, by default the good one."""
        body = self.body if body is None else body
        return WebhookRequest(headers=self.sign(body, secret or self.secret, at), body=body)


def signed_by(sign: Callable[[bytes, str, float], list[tuple[str, str]]]) -> Callable[[bytes, str, datetime], Headers]:
    """Return a sandbox signer as a sample needs it."""
    return lambda body, secret, at: [
        (name.lower().encode(), text.encode()) for name, text in sign(body, secret, at.timestamp())
    ]


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
    chosen = {**account.options, **options}
    return connectors.connector_class(name)(Account(account.credentials, account.base_url, chosen))
