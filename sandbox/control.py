"""The control API under /_sandbox: who is configured, how to misbehave, and what is really true.

It has no key, because it is only for the machine it runs on: a peer that is not loopback is refused.
"""

import ipaddress
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, Router
from starlette.types import Receive, Scope, Send

from sandbox.behaviour import BadBehaviour
from sandbox.gateway import Gateway
from sandbox.sender import Sender
from sandbox.world import Account, World

WEBHOOK_COUNTS: Final = (
    "made", "sent", "accepted", "delivered", "dropped", "repeated", "forged_sent", "forged_refused", "forged_accepted",
    "failed_tries", "given_up", "pending",
)  # fmt: skip
MORE_SETTINGS: Final = {"paycore": {"account_id"}, "bridgerpay": {"account_id", "password"}}
"""What only some gateways are configured with. BridgerPay's user name is its account id."""
MISBEHAVIOURS: Final = ("refused", "slow", "timed_out_after_accept")


class Control:
    """The control API over one world."""

    def __init__(self, world: World, sender: Sender, gateways: Mapping[str, Gateway]) -> None:
        self.world, self.sender, self.gateways = world, sender, gateways
        self.router = Router(
            [
                Route("/gateways/{gateway}", self._configure, methods=["PUT"]),
                Route("/behaviour", self._behaviour, methods=["GET"]),
                Route("/behaviour", self._behave, methods=["PUT"]),
                Route("/truth", self._truth, methods=["GET"]),
                Route("/stats", self._stats, methods=["GET"]),
                Route("/reset", self._reset, methods=["POST"]),
                Route("/webhooks/{gateway}/{reference}/resend", self._resend, methods=["POST"]),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer loopback peers only."""
        if not _is_loopback(scope.get("client")):
            refusal = _problem(HTTPStatus.FORBIDDEN, "not_loopback", "the control API is for this machine only")
            await refusal(scope, receive, send)
            return
        await self.router(scope, receive, send)

    async def _configure(self, request: Request) -> Response:
        name = request.path_params["gateway"]
        if name not in self.gateways:
            return _unknown_gateway(name, self.gateways)
        wishes, known = await _document(request), {"webhook_url", "webhook_secret", "api_key"}
        known |= MORE_SETTINGS.get(name, set())
        if wrong := _fault(wishes, known):
            return _problem(HTTPStatus.BAD_REQUEST, "invalid_gateway", wrong)
        for key, value in wishes.items():
            setattr(self.world.accounts[name], key, value)
        return JSONResponse(_shown(self.world.accounts[name]))

    async def _behaviour(self, request: Request) -> Response:
        del request
        return JSONResponse(self.world.behaviour.shown())

    async def _behave(self, request: Request) -> Response:
        try:
            self.world.behaviour = self.world.behaviour.changed_by(await _document(request))
        except BadBehaviour as bad:
            return _problem(HTTPStatus.BAD_REQUEST, "invalid_behaviour", str(bad))
        return JSONResponse(self.world.behaviour.shown())

    async def _truth(self, request: Request) -> Response:
        del request
        return JSONResponse({"payouts": self.world.truth()})

    async def _stats(self, request: Request) -> Response:
        del request
        world = self.world
        counts: dict[str, Any] = {word: world.webhooks[word] for word in WEBHOOK_COUNTS}
        return JSONResponse(
            {
                "webhooks": {**counts, "refused": dict(world.webhooks_refused)},
                "api": {name: dict(world.api_calls[name]) for name in self.gateways},
                "misbehaved": {word: world.misbehaved[word] for word in MISBEHAVIOURS},
                "stories_open": world.stories_open,
                "is_idle": not world.tasks,
            }
        )

    async def _reset(self, request: Request) -> Response:
        del request
        self.world.reset()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def _resend(self, request: Request) -> Response:
        name, reference = request.path_params["gateway"], request.path_params["reference"]
        if name not in self.gateways:
            return _unknown_gateway(name, self.gateways)
        payout = self.world.payouts[name].get(reference)
        if payout is None:
            return _problem(HTTPStatus.NOT_FOUND, "unknown_payout", f"{name} has no payout {reference!r}")
        if not payout.latest_webhook or not self.gateways[name].webhook_url(payout):
            return _problem(HTTPStatus.CONFLICT, "nothing_to_send", "no webhook was made yet, or no URL is configured")
        self.sender.resend(self.gateways[name], payout)
        return Response(status_code=HTTPStatus.ACCEPTED)


def _is_loopback(client: tuple[str, int] | None) -> bool:
    try:
        return client is not None and ipaddress.ip_address(client[0]).is_loopback
    except ValueError:
        return False


async def _document(request: Request) -> Any:
    try:
        return json.loads(await request.body())
    except ValueError:
        return None


def _fault(wishes: object, known: set[str]) -> str:
    """Return what is wrong with a gateway's configuration; empty when nothing is."""
    if not isinstance(wishes, dict):
        return "the body must be a JSON object"
    if unknown := sorted(set(wishes) - known):
        return f"unknown key {unknown[0]!r}; there are: {', '.join(sorted(known))}"
    if wrong := [key for key, value in wishes.items() if not isinstance(value, str)]:
        return f"{wrong[0]} must be text"
    url = wishes.get("webhook_url", "")
    return "" if not url or url.startswith(("http://", "https://")) else "webhook_url must be an http or https URL"


def _shown(account: Account) -> dict[str, str]:
    return {"webhook_url": account.webhook_url, "account_id": account.account_id}


def _unknown_gateway(name: str, gateways: Mapping[str, Gateway]) -> Response:
    return _problem(HTTPStatus.NOT_FOUND, "unknown_gateway", f"no gateway {name!r}; there are: {', '.join(gateways)}")


def _problem(status: HTTPStatus, code: str, detail: str) -> Response:
    document = {"type": "about:blank", "title": status.phrase, "status": status, "code": code, "detail": detail}
    return JSONResponse(document, status, media_type="application/problem+json")
