from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # this file is read before the suite's servers run, and the broker needs them
    from tests.receiver.partners.portal.visitor import Visitor


@pytest.fixture
def a_visitor(database: None) -> "Callable[..., Visitor]":
    """Return a browser that has entered by a link of this organisation and mode."""
    from models.database import transaction
    from payouts.portal import mint
    from tests.factories import an_organisation
    from tests.receiver.partners.portal.visitor import Visitor

    def make(organisation: str = "Acme", *, test_mode: bool = False, enter: bool = True) -> "Visitor":
        owner, now = an_organisation(organisation), datetime.now(UTC)
        with transaction() as session:
            minted = mint(session, owner.id, test_mode=test_mode, actor="test", now=now)
        visitor = Visitor(minted)
        if enter:
            assert visitor.post(f"/portal/enter/{minted.token}", {}).status == 303
        return visitor

    return make


@pytest.fixture
def visitor(a_visitor: "Callable[..., Visitor]") -> "Visitor":
    """Return a browser on Acme's live page."""
    return a_visitor()
