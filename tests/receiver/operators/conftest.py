from datetime import UTC, datetime

import pytest

from models.database import transaction
from models.passwords import add_operator
from receiver.operators import identity
from receiver.operators.guesses import Guesses
from receiver.operators.identity import COOKIE, sealed_session
from tests.receiver.operators.browser import Browser

NAME = "maria"
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def _fresh_guesses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "_GUESSES", Guesses())


@pytest.fixture
def operator(database: None) -> str:
    """Return the name of an operator whose password is PASSWORD."""
    with transaction() as session:
        add_operator(session, NAME, PASSWORD, datetime.now(UTC))
    return NAME


@pytest.fixture
def stranger(operator: str) -> Browser:
    """Return a browser that has not signed in."""
    return Browser()


@pytest.fixture
def browser(operator: str) -> Browser:
    """Return a browser that has signed in."""
    signed_in = Browser()
    signed_in.cookies[COOKIE] = sealed_session(operator)
    return signed_in
