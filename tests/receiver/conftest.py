"""One door for most tests of a file: starting one costs more than what most of them do."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # this file is read before the suite's servers run, and the broker needs them
    from tests.receiver.doors import Door


@pytest.fixture(scope="module")
def _running_door(_migrated: None) -> "Iterator[Door]":
    from tests.receiver.doors import a_door

    with a_door() as door:
        yield door


@pytest.fixture
def door(_running_door: "Door", database: None, monkeypatch: pytest.MonkeyPatch) -> "Door":
    """The file's door and an empty database; every new integration is known at once."""
    monkeypatch.setattr("receiver.directory.ASK_AGAIN_SECONDS", 0.0)
    return _running_door
