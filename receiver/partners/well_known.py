"""The keys that verify our `v1a` signatures, for everybody who knows an endpoint's id.

`GET /.well-known/webhook-keys?endpoint=ep_…`. No API key is asked for: what verifies signatures runs where no API key
should be, and the ids are too long to be guessed. One endpoint's keys at a time, because whoever trusted those of all
would believe what another partner has had signed (docs/decisions/0011).
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from anyio import CapacityLimiter, to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from models.database import transaction
from payouts.endpoints import find
from payouts.payload import rfc3339
from payouts.refused import Refused
from payouts.signing import public_keys
from receiver.partners.refusals import Refusal

PATH: Final = "/.well-known/webhook-keys"
KEPT_SECONDS: Final = 300
"""How long anybody may keep the document. Keys overlap for much longer when they are replaced."""
LONGEST_LINE: Final = 64

_THREADS: Final = CapacityLimiter(4)
"""Nobody has to show a key here, so no more than a few may keep the database busy."""
_ID: Final = re.compile(r"ep_[0-9a-f]{28}")


async def webhook_keys(request: Request) -> Response:
    """Answer with an endpoint's public keys, the newest first."""
    request.scope["ratchet.route"] = PATH
    endpoint_id = request.query_params.get("endpoint", "")
    if not _ID.fullmatch(endpoint_id):
        raise Refusal("endpoint_required", f"say whose: {PATH}?endpoint=ep_…")
    if _THREADS.statistics().tasks_waiting > LONGEST_LINE:
        raise Refusal("overloaded")
    document = await to_thread.run_sync(_document, endpoint_id, limiter=_THREADS)
    headers = {"content-type": "application/json", "cache-control": f"public, max-age={KEPT_SECONDS}"}
    return Response(orjson.dumps(document), headers=headers)


def _document(endpoint_id: str) -> dict[str, Any]:
    try:
        with transaction() as session:
            keys = public_keys(find(session, endpoint_id), datetime.now(UTC))
    except Refused as refused:
        raise Refusal(refused.code, str(refused)) from None
    return {
        "endpoint": endpoint_id,
        "keys": [
            {"scheme": "v1a", "algorithm": "ed25519", "public_key": key.text, "expires_at": rfc3339(key.expires_at)}
            for key in keys
        ],
    }


ROUTE: Final = Route(PATH, webhook_keys, methods=["GET"])
