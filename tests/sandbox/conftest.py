"""A sandbox in which everything goes well and fast, until a test asks for more."""

from collections.abc import Iterator

import pytest

from tests.sandbox.stand import Receiver, Stand, a_receiver, a_sandbox, configure


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with a_receiver() as receiver:
        yield receiver


@pytest.fixture(scope="session")
def running_sandbox() -> Iterator[Stand]:
    with a_sandbox() as stand:
        yield stand


@pytest.fixture
def stand(running_sandbox: Stand, receiver: Receiver) -> Stand:
    """Every test begins anew; its receiver is its own, so that no straggler of another test reaches it."""
    assert running_sandbox.control("POST", "/reset").status_code == 204
    running_sandbox.clock.ahead_seconds = 0.0
    configure(running_sandbox, receiver.url)
    return running_sandbox
