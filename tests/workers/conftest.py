"""What the actors open in this process is closed when the tests that use it are over; a sandbox to ask."""

from collections.abc import Iterator

import pytest

from tests.sandbox.stand import Stand
from tests.workers.sandboxes import a_quiet_sandbox, settle
from workers.broker import broker
from workers.outside import outside


@pytest.fixture(scope="package", autouse=True)
def _outside() -> Iterator[None]:
    yield
    if opened := outside.forget():
        opened.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Stand]:
    with a_quiet_sandbox() as stand:
        yield stand


@pytest.fixture
def stand(running: Stand, database: None) -> Stand:
    """Give a sandbox that has just begun, and an empty queue."""
    settle(running)
    broker.flush_all()
    return running
