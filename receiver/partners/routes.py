"""Everything at the partners' door, on one screen."""

from typing import Final

from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from receiver.partners import (
    balances,
    creating,
    deliveries,
    docs,
    endpoints,
    events,
    internal,
    payouts,
    portal_links,
    quotes,
    recoveries,
    track,
    well_known,
)
from receiver.partners.dispatch import routes
from receiver.partners.door import PartnersDoor
from receiver.partners.openapi import document
from receiver.partners.operation import Operation
from receiver.partners.portal.routes import ROUTES as PAGES

OPERATIONS: Final[list[Operation]] = [
    *creating.OPERATIONS,
    *payouts.OPERATIONS,
    *quotes.OPERATIONS,
    *balances.OPERATIONS,
    *endpoints.OPERATIONS,
    *events.OPERATIONS,
    *deliveries.OPERATIONS,
    *recoveries.OPERATIONS,
    *portal_links.OPERATIONS,
    *internal.OPERATIONS,
]

_DOCUMENT: Final = document(OPERATIONS)


def _openapi(_: Request) -> Response:
    return Response(_DOCUMENT, media_type="application/json")


ROUTES: Final[list[BaseRoute]] = [
    Route("/openapi.json", _openapi),
    well_known.ROUTE,
    *docs.ROUTES,
    *track.ROUTES,
    *routes(OPERATIONS),
    *PAGES,
]

MIDDLEWARE: Final = [Middleware(PartnersDoor)]
