"""How FedaPay wraps what it answers: objects bare or under a versioned key, lists with their pages or without.

Its libraries' fixtures wrap every object (`{"v1/payout": {…}}`), its newer reference shows them bare: both are met.
"""

from connectors._base import HttpReply, Rejected, UnreadableEvent
from connectors._calls import refusal, rejected
from connectors._json import Fields, document
from connectors._lists import Page


def payout_of(answer: object, path: str = "") -> Fields:
    """Return a payout object, bare or wrapped."""
    fields = Fields.of(answer, path)
    return fields.maybe_within("v1/payout") or fields


def payouts_of(answer: object) -> list[Fields]:
    """Return a list of payouts, bare or wrapped."""
    wrapped = answer if isinstance(answer, dict) else {"v1/payouts": answer}
    fields = Fields.of(wrapped)
    items = fields.items("v1/payouts" if "v1/payouts" in fields.values else "payouts")
    return [item.maybe_within("v1/payout") or item for item in items]


def the_one(body: bytes, reference: str) -> Fields:
    """Return our payout from the answer to a start, where partial success is possible."""
    for payout in payouts_of(document(body)):
        if payout.reference("id") == reference:
            return payout
    raise UnreadableEvent("the started payouts do not hold ours")


def page_of(answer: object, number: str, per_page: int) -> Page:
    """Return one page of a list. A bare list tells no end, so the first one that is not full is the last."""
    items = payouts_of(answer)
    meta = Fields.of(answer).maybe_within("meta") if isinstance(answer, dict) else None
    if meta is None:
        return Page(items, str(int(number) + 1) if len(items) >= per_page else None)
    following = meta.identifier("next_page")
    if following is not None and not following.isdecimal():
        raise UnreadableEvent("meta.next_page is no number")
    return Page(items, following)


def rejection(reply: HttpReply) -> Rejected:
    """Return a refusal: the first invalid field is the code."""
    words = refusal(reply)
    errors = words.get("errors")
    return rejected(reply, next(iter(errors), None) if isinstance(errors, dict) else None, words.get("message"))
