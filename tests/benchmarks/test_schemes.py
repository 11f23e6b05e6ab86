"""Every scheme of the benchmark is a request that its connector believes."""

import time
from datetime import UTC, datetime

import pytest

import connectors
from benchmarks.schemes import Scheme, private_key, shared_secret

EVERY = [*shared_secret(time.time()), *private_key(time.time())]


@pytest.mark.parametrize("scheme", EVERY, ids=lambda scheme: scheme.name)
def test_a_scheme_verifies(scheme: Scheme) -> None:
    scheme.verify(datetime.now(UTC))


def test_every_connector_is_measured() -> None:
    assert {scheme.connector.name for scheme in EVERY} == set(connectors.NAMES)
