"""The API against its own description, for longer than anybody wants to wait in `make test`."""

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, settings

from tests.receiver.partners.described import SCHEMA, let_in, who_asks

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture
def keys(database: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    with let_in(monkeypatch) as headers:
        yield headers


@SCHEMA.parametrize()
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_it_answers_as_it_is_described_whatever_is_sent(case: schemathesis.Case, keys: dict[str, str]) -> None:
    case.call_and_validate(headers=who_asks(case, keys))
