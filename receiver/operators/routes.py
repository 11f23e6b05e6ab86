"""Everything under /ops, on one screen."""

from typing import Final

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from receiver.operators import payout, prices, signin, stuck, switches
from receiver.operators.door import DOOR
from receiver.operators.identity import for_forms, for_people, for_scripts
from receiver.pages import style


def _home(_: Request) -> Response:
    return RedirectResponse(signin.HOME, 303)


_DOOR: Final = [DOOR]

ROUTES: Final[list[BaseRoute]] = [
    Route("/ops", _home, middleware=_DOOR),
    Mount(
        "/ops",
        routes=[
            Route("/", _home),
            Route("/style.css", style),
            Route("/sign-in", signin.ask),
            Route("/sign-in", signin.sign_in, methods=["POST"]),
            Route("/sign-out", signin.sign_out, methods=["POST"]),
            Route("/stuck", for_people(stuck.show)),
            Route("/stuck.csv", for_scripts(stuck.as_csv)),
            Route("/stuck.json", for_scripts(stuck.as_json)),
            Route("/switches", for_people(switches.show)),
            Route("/switches", for_forms(switches.throw_), methods=["POST"]),
            Route("/switches/{switch_id}/lift", for_forms(switches.lift_), methods=["POST"]),
            Route("/prices", for_people(prices.show)),
            Route("/prices/rates", for_forms(prices.set_rate_), methods=["POST"]),
            Route("/prices/fees", for_forms(prices.set_fee_), methods=["POST"]),
            Route("/payouts/{payout_id}", for_people(payout.show)),
        ],
        middleware=_DOOR,
    ),
]
