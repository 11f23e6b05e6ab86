from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:  # this file is read before the suite's servers run, and the broker needs them
    from tests.receiver.doors import Door
    from tests.receiver.partners.partner import Partner


@pytest.fixture(scope="module")
def partners_door(_migrated: None) -> "Iterator[Door]":
    from receiver.app import partners
    from tests.receiver.doors import a_server

    with a_server(partners()) as door:
        yield door


@pytest.fixture(autouse=True)
def _a_wide_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test ask as often as it likes, unless it says otherwise."""
    monkeypatch.setattr("receiver.partners.limits.quota", lambda: 100_000)


@pytest.fixture
def a_partner(partners_door: "Door", database: None) -> "Callable[..., Partner]":
    """Return a partner with a new key at the file's door; the words of `a_key`."""
    from tests.receiver.partners.partner import Partner, a_key

    def make(*words: Any, **more: Any) -> "Partner":
        return Partner(partners_door.port, a_key(*words, **more).key)

    return make


@pytest.fixture
def partner(a_partner: "Callable[..., Partner]") -> "Partner":
    """Return a partner of Acme's with a live key that may do everything."""
    return a_partner()
