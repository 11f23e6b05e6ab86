"""A partner's endpoint: verifies with the public `standardwebhooks` library and keeps score of repetition and order.

`python -m sandbox.partner --port 9401 --secret whsec_…`. GET /_partner/score tells what came. It can be told to refuse
some requests, as a partner's server does on a bad day, and to hand the others on to a real receiver (`--forward`): then
that one answers, and the score holds what it has acknowledged and where the two of them disagree.
"""

import argparse
import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import aiohttp
import uvicorn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

ACKNOWLEDGED: Final = range(200, 300)
UNAUTHORISED: Final = 401
HANDED_ON: Final = ("content-type", "webhook-id", "webhook-timestamp", "webhook-signature")
FORWARD_TIMEOUT: Final = aiohttp.ClientTimeout(total=14)


class Score:
    """What a partner has received so far."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.requests = 0
        self.refused_on_purpose = 0
        self.bad_signatures = 0
        self.disagreed = 0
        self.repeated = 0
        self.out_of_order = 0
        self.seen: set[str] = set()
        self.latest: dict[str, int] = {}
        self.status: dict[str, str] = {}

    def take(self, message_id: str, event: dict[str, Any]) -> None:
        """Count one verified event that was acknowledged."""
        if message_id in self.seen:
            self.repeated += 1
            return
        self.seen.add(message_id)
        payout, sequence = event["data"]["id"], event["data"]["sequence"]
        if sequence <= self.latest.get(payout, 0):
            self.out_of_order += 1
        self.latest[payout] = max(sequence, self.latest.get(payout, 0))
        self.status[payout] = event["data"]["status"]

    def document(self) -> dict[str, Any]:
        """Return the score for GET /_partner/score."""
        return {
            "requests": self.requests,
            "events": len(self.seen),
            "repeated": self.repeated,
            "out_of_order": self.out_of_order,
            "bad_signatures": self.bad_signatures,
            "disagreed": self.disagreed,
            "refused_on_purpose": self.refused_on_purpose,
            "status": self.status,
        }


class Partner:
    """One partner: a bad day, an independent check, and, if it has one, its real receiver behind."""

    def __init__(self, secret: str, refuse: float, seed: int, forward: str | None) -> None:
        """`refuse` is the share of requests answered 500; `forward` the URL of the receiver behind."""
        self.score = Score()
        self._webhook = Webhook(secret)
        self._refuse = refuse
        self._dice = random.Random(seed)
        self._forward = forward

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Keep connections to the receiver behind while serving."""
        async with aiohttp.ClientSession(timeout=FORWARD_TIMEOUT) as self._client:
            yield

    async def hooks(self, request: Request) -> Response:
        """Answer one webhook and keep the score."""
        body = await request.body()
        self.score.requests += 1
        if self._dice.random() < self._refuse:
            self.score.refused_on_purpose += 1
            return Response(status_code=500)
        is_good = self._verifies(body, request.headers)
        self.score.bad_signatures += not is_good
        status = await self._ask_receiver(body, request.headers) if self._forward else 204 if is_good else UNAUTHORISED
        self.score.disagreed += (status == UNAUTHORISED) == is_good
        if is_good and status in ACKNOWLEDGED:
            self.score.take(request.headers["webhook-id"], json.loads(body))
        return Response(status_code=status)

    async def show(self, _: Request) -> Response:
        """Answer the score."""
        return JSONResponse(self.score.document())

    def _verifies(self, body: bytes, headers: Mapping[str, str]) -> bool:
        try:
            self._webhook.verify(body, dict(headers))
        except (WebhookVerificationError, ValueError):
            return False
        return True

    async def _ask_receiver(self, body: bytes, headers: Mapping[str, str]) -> int:
        kept = {name: headers[name] for name in HANDED_ON if name in headers}
        try:
            async with self._client.post(str(self._forward), data=body, headers=kept) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 502


def app(secret: str, refuse: float, seed: int, forward: str | None = None) -> Starlette:
    """Return the partner's app."""
    partner = Partner(secret, refuse, seed, forward)
    routes = [Route("/hooks", partner.hooks, methods=["POST"]), Route("/_partner/score", partner.show)]
    return Starlette(routes=routes, lifespan=partner.lifespan)


def main() -> None:
    """Serve on loopback until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9401)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--refuse", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--forward", help="the URL of a receiver that answers in our place")
    known = parser.parse_args()
    uvicorn.run(
        app(known.secret, known.refuse, known.seed, known.forward),
        host="127.0.0.1",
        port=known.port,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
