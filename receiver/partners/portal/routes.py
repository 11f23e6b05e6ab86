"""Everything under /portal, on one screen."""

from typing import Final

from starlette.routing import BaseRoute, Mount, Route

from receiver.pages import style
from receiver.partners.portal import acts, entering, views
from receiver.partners.portal.door import DOOR
from receiver.partners.portal.visits import acting, looking

_DOOR: Final = [DOOR]

ROUTES: Final[list[BaseRoute]] = [
    Route("/portal", looking(views.home), middleware=_DOOR),
    Mount(
        "/portal",
        routes=[
            Route("/style.css", style),
            Route("/enter/{token}", entering.ask),
            Route("/enter/{token}", entering.enter, methods=["POST"]),
            Route("/leave", acting(entering.leave), methods=["POST"]),
            Route("/endpoints/{endpoint_id}", looking(views.endpoint)),
            Route("/endpoints/{endpoint_id}/ping", acting(acts.ping), methods=["POST"]),
            Route("/endpoints/{endpoint_id}/rotate", acting(acts.rotate), methods=["POST"]),
            Route("/endpoints/{endpoint_id}/recover", acting(acts.recover), methods=["POST"]),
            Route("/deliveries/{delivery_id}", looking(views.delivery)),
            Route("/deliveries/{delivery_id}/redeliver", acting(acts.redeliver), methods=["POST"]),
        ],
        middleware=_DOOR,
    ),
]
