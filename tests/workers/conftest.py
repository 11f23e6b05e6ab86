"""What the actors open in this process is closed when the tests that use it are over."""

from collections.abc import Iterator

import pytest

from workers.outside import outside


@pytest.fixture(scope="package", autouse=True)
def _outside() -> Iterator[None]:
    yield
    if opened := outside.forget():
        opened.close()
