"""A command line that sends an endpoint the same event again, for a partner who looks for a fault on their side.

It holds no secret: the partner has it in `$WEBHOOK_SECRET`, and it is signed there and now, because a receiver rightly
refuses the old timestamp. The values of the partner's own headers are left out too: they are sealed and never shown.
"""

import shlex
from collections.abc import Sequence

from models.sealed import unseal
from payouts.owed import Particulars


def reproduced(found: Particulars) -> str | None:
    """Return the command for one delivery, or None: its body is not kept, or only we sign for the endpoint."""
    if found.payload is None or "v1" not in found.schemes:
        return None
    names = sorted(unseal(found.sealed_headers)) if found.sealed_headers else []
    return curl_line(found.url, found.owed.event_id, found.payload, names)


def curl_line(url: str, event_id: str, payload: str, header_names: Sequence[str] = ()) -> str:
    """Return a shell command, signed by `$WEBHOOK_SECRET` when it runs."""
    own = "".join(f' -H "{name}: ${_variable(name)}"' for name in header_names)
    return (
        f"id={shlex.quote(event_id)} now=$(date +%s) body={shlex.quote(payload)}; "
        "key=$(printf %s \"${WEBHOOK_SECRET#whsec_}\" | base64 -d | od -An -v -tx1 | tr -d ' \\n'); "
        'signature=$(printf %s.%s.%s "$id" "$now" "$body"'
        ' | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | base64); '
        f"curl -i {shlex.quote(url)} -H 'content-type: application/json' -H \"webhook-id: $id\""
        ' -H "webhook-timestamp: $now" -H "webhook-signature: v1,$signature"'
        f'{own} --data-binary "$body"'
    )


def _variable(header: str) -> str:
    return header.upper().replace("-", "_")
