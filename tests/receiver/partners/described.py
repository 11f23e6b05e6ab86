"""The partners' door as schemathesis sees it: by its own description, with keys that open everything."""

import contextlib
from collections.abc import Iterator
from typing import Final

import pytest
import schemathesis
from schemathesis.core.parameters import ParameterLocation

from models.lifecycle import PayoutStatus
from receiver.app import partners
from receiver.partners import limits
from settings import settings
from tests.factories import a_fee, a_payout, an_endpoint, an_integration, say
from tests.receiver.partners.partner import a_key

INTERNAL_SECRET: Final = "an-internal-secret-for-schemathesis"

SCHEMA: Final = schemathesis.openapi.from_asgi("/openapi.json", partners())

# A JSON schema cannot say that EUR has two decimals or that a time must lie ahead: such a request is refused by 422.
SCHEMA.config.checks.positive_data_acceptance.expected_statuses += ["400", "422"]


def who_asks(case: schemathesis.Case, keys: dict[str, str]) -> dict[str, str]:
    """Give a case its keys; but not one that is wrong in its headers, as when it comes without a key.

    Put back, what makes it wrong would be gone, and being let in would look like a fault.
    """
    is_wrong = case.meta is not None and case.meta.is_negative_at(ParameterLocation.HEADER)
    return {} if is_wrong else keys


@contextlib.contextmanager
def let_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """Put a little of everything on record, and give the headers that open every operation."""
    monkeypatch.setattr(limits, "quota", lambda: 1_000_000)
    monkeypatch.setenv("RATCHET_INTERNAL_SECRETS", INTERNAL_SECRET)
    settings.cache_clear()
    an_integration("fedapay")
    a_fee(an_integration("paycore"), "EUR", percent="0.5")
    a_fee(an_integration("zopay"), "USDT", network="tron", fixed_minor=1_000_000)
    an_endpoint()
    say(a_payout(), PayoutStatus.DELIVERED)
    yield {"Authorization": f"Bearer {a_key().key}", "X-Internal-Secret": INTERNAL_SECRET}
    settings.cache_clear()
