"""BridgerPay: news of an approved payout, which is a reason to ask and no more."""

import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import Any

from connectors._base import Account, HttpReply, Order, PayoutUpdate
from tests.connectors.fakes import a_reply
from tests.connectors.sample import Headers, Sample


def a_notification(kind: str = "approved", **charge: Any) -> bytes:
    """Return a notification of this type; `charge` changes fields of the charge."""
    attributes = {
        "live_mode": True,
        "amount": 250.0,
        "status": kind,
        "currency": "EUR",
        "decline_code": None,
        "decline_reason": None,
        "created_at": 1767225600,
        "updated_at": 0,
        "source": {"email": "a@example.test", "ip_address": "127.0.0.1", "name": "A B"},
    }
    known = {"type": kind, "id": "8ac7a4a1", "psp_order_id": "b4a0a", "operation_type": "payout"}
    event = {
        "webhook": {"type": kind},
        "data": {
            "order_id": "pay_01JX:1",
            "psp_name": "pspname",
            "charge": {**known, "attributes": attributes, **charge},
        },
        "meta": {"server_time": 1767225601, "server_timezone": "UTC", "api_version": "2.0", "payload": None},
    }
    return json.dumps(event).encode()


def wrapped(result: object, code: int = 200, status: int = 200) -> HttpReply:
    """Return an answer in its envelope."""
    return a_reply(status, {"response": {"status": "OK", "code": code, "message": "OK"}, "result": result})


def a_login(token: str = "token-1") -> HttpReply:  # noqa: S107 - invented
    """Return the answer to a login."""
    return wrapped({"access_token": {"token": token, "expires_in": 3600}, "refresh_token": {"token": "refresh"}})


def a_result(**changes: Any) -> dict[str, Any]:
    """Return the result of a create call."""
    return {
        "payout_method": "bank_account",
        "id": "3c107b2c",
        "transaction_id": "psp-9",
        "amount": 250.0,
        "processing_date": "2026-01-01 00:00:00",
        "failure_code": None,
        "status": "Pending",
        "currency": "EUR",
    } | changes


def a_record(**changes: Any) -> dict[str, Any]:
    """Return one record of the list."""
    return {
        "id": "3c107b2c",
        "transaction_id": "psp-9",
        "psp_name": "pspname",
        "merchant_order_id": "pay_01JX:1",
        "amount": 250.0,
        "currency": "EUR",
        "payout_method_type": "BankAccount",
        "decline_reason": None,
        "decline_code": None,
        "status": "Approved",
        "processing_date": "2026-01-01 00:00:00",
        "processing_date_timestamp": 1767225600,
    } | changes


def a_page(*records: object) -> HttpReply:
    """Return one page of the list."""
    return wrapped({"next_page_cursor": None, "records": list(records)})


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign by our own convention: HMAC of the body, in hex, no time."""
    del at
    return [(b"x-bridgerpay-signature", hmac.new(secret.encode(), body, hashlib.sha256).hexdigest().encode())]


SAMPLE = Sample(
    secret="an invented convention",
    body=a_notification(),
    sign=sign,
    says=PayoutUpdate(
        reference=None,
        order_key="pay_01JX:1",
        status=None,
        said="approved",
        occurred_at=datetime(2026, 1, 1, 0, 0, 1, tzinfo=UTC),
    ),
    body_saying=a_notification,
    hints_only=True,
    other_subject=a_notification(operation_type="deposit"),
    account=Account(credentials={"api_key": "key-in-the-path", "user_name": "a@example.test", "password": "invented"}),
    order=Order(
        order_key="pay_01JX:1",
        amount_minor=25_000,
        currency="EUR",
        description="May run",
        details={
            "provider": "PspName",
            "country": "BE",
            "payout_method_type": "bank_account",
            "metadata": {"bankAccountNumber": "BE68539007547034"},
        },
    ),
    accepted=[a_login(), wrapped(a_result())],
    moves_from=1,
    absent=[a_login(), a_page()],
)
