# ruff: noqa: INP001 - not a package: as one it would be called `sandbox` and hide the sandbox it tests
"""A sandbox in which everything goes well and fast, until a test asks for more."""

from collections.abc import Iterator

import pytest

from tests.sandbox.stand import Receiver, Stand, a_receiver, a_sandbox, configure


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


@pytest.fixture
def stand(receiver: Receiver) -> Iterator[Stand]:
    with a_sandbox() as stand:
        configure(stand, receiver.url)
        yield stand
