"""Every scheme of the benchmark is a request that its connector believes."""

import time
from datetime import UTC, datetime

import pytest

import connectors
from benchmarks.schemes import Scheme, private_key, shared_secret


def _every() -> list[Scheme]:
    """Return them as signed now: what is signed while tests are collected may be too old when they run."""
    return [*shared_secret(time.time()), *private_key(time.time())]


@pytest.mark.parametrize("name", [scheme.name for scheme in _every()])
def test_a_scheme_verifies(name: str) -> None:
    (scheme,) = [scheme for scheme in _every() if scheme.name == name]

    scheme.verify(datetime.now(UTC))


def test_every_connector_is_measured() -> None:
    assert {scheme.connector.name for scheme in _every()} == set(connectors.NAMES)
