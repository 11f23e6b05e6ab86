"""A partner's endpoint: verifies with the public `standardwebhooks` library and keeps score of repetition and order.

`python -m sandbox.partner --port 9401 --secret whsec_…`. GET /_partner/score tells what came. It can be told to refuse
some requests, as a partner's server does on a bad day.
"""

import argparse
import json
import random
from typing import Any

import uvicorn
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


class Score:
    """What a partner has received so far."""

    def __init__(self) -> None:
        """Start at nothing."""
        self.requests = 0
        self.refused_on_purpose = 0
        self.bad_signatures = 0
        self.repeated = 0
        self.out_of_order = 0
        self.seen: set[str] = set()
        self.latest: dict[str, int] = {}
        self.status: dict[str, str] = {}

    def take(self, message_id: str, event: dict[str, Any]) -> None:
        """Count one verified event."""
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
            "refused_on_purpose": self.refused_on_purpose,
            "status": self.status,
        }


def app(secret: str, refuse: float, seed: int) -> Starlette:
    """Return the partner's app. `refuse` is the share of requests answered 500."""
    score = Score()
    webhook = Webhook(secret)
    dice = random.Random(seed)

    async def hooks(request: Request) -> Response:
        body = await request.body()
        score.requests += 1
        if dice.random() < refuse:
            score.refused_on_purpose += 1
            return Response(status_code=500)
        try:
            webhook.verify(body, dict(request.headers))
        except (WebhookVerificationError, ValueError):
            score.bad_signatures += 1
            return Response(status_code=401)
        score.take(request.headers["webhook-id"], json.loads(body))
        return Response(status_code=204)

    async def show(_: Request) -> Response:
        return JSONResponse(score.document())

    return Starlette(routes=[Route("/hooks", hooks, methods=["POST"]), Route("/_partner/score", show)])


def main() -> None:
    """Serve on loopback until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=9401)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--refuse", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    known = parser.parse_args()
    uvicorn.run(
        app(known.secret, known.refuse, known.seed),
        host="127.0.0.1",
        port=known.port,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
