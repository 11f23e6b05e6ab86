"""What several commands' tests need."""

from collections.abc import Callable
from dataclasses import replace

import pytest

import settings
from models import sealed
from models.sealed import new_key


@pytest.fixture
def lose_keys(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Give a way to go on with a fresh key alone, as after losing all of them."""

    def lose() -> None:
        told = replace(settings.settings(), secret_keys=(new_key(),))
        monkeypatch.setattr(sealed, "settings", lambda: told)

    return lose
