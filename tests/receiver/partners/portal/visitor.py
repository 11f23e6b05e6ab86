"""A browser at the partner's page, without a socket."""

from payouts.portal import Minted
from receiver.app import partners
from tests.receiver.operators.browser import Browser


class Visitor(Browser):
    def __init__(self, minted: Minted) -> None:
        super().__init__()
        self.app = partners()
        self.minted = minted
