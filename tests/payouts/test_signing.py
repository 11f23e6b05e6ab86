"""What we sign, the public library verifies."""

import base64
import contextlib
import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from models.endpoint import SYMMETRIC, new_private_key, new_secret
from payouts.signing import public_key, signature
from tests.laws import IN_MEMORY


def now() -> int:
    return int(datetime.now(UTC).timestamp())  # when asked, not when imported: a long suite outlives the tolerance


def headers(secrets: list[str], body: bytes, *, at: int | None = None) -> dict[str, str]:
    at = now() if at is None else at
    return {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(at),
        "webhook-signature": signature(secrets, "evt_1", at, body),
    }


def test_the_public_library_verifies_what_we_sign() -> None:
    secret, body = new_secret(), '{"type":"payout.delivered","name":"Ünal"}'.encode()

    assert Webhook(secret).verify(body, headers([secret], body)) == json.loads(body)


def test_while_a_secret_is_replaced_both_verify() -> None:
    old, new, stranger, body = new_secret(), new_secret(), new_secret(), b"{}"
    signed = headers([new, old], body)

    Webhook(old).verify(body, signed)
    Webhook(new).verify(body, signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(stranger).verify(body, signed)


@pytest.mark.parametrize("changed", [{"webhook-id": "evt_2"}, {"webhook-timestamp": str(now() + 1)}])
def test_the_signature_covers_id_and_time(changed: dict[str, str]) -> None:
    secret = new_secret()

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"{}", headers([secret], b"{}") | changed)


def test_an_old_attempt_cannot_be_used_again() -> None:
    secret, then = new_secret(), int((datetime.now(UTC) - timedelta(minutes=6)).timestamp())

    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(b"{}", headers([secret], b"{}", at=then))


def test_it_is_the_known_answer_of_the_specification() -> None:
    secret, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", b'{"test": 2432232314}'

    assert signature([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@given(body=st.binary(max_size=500), message_id=st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1))
def test_any_body_is_one_signature_per_secret(body: bytes, message_id: str) -> None:
    signed = signature([new_secret(), new_secret()], message_id, now(), body)

    assert [part[:3] for part in signed.split(" ")] == ["v1,", "v1,"]
    assert all(len(base64.b64decode(part[3:])) == 32 for part in signed.split(" "))


def test_secrets_are_long_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}

    assert len(secrets) == 100
    assert {len(base64.b64decode(secret.removeprefix(SYMMETRIC))) for secret in secrets} == {32}


# --- v1a: written from the specification, with `cryptography` and without our own code


def verify_v1a(public: str, headers: dict[str, str], body: bytes) -> bool:
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public.removeprefix("whpk_")))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    for each in headers["webhook-signature"].split(" "):
        scheme, _, text = each.partition(",")
        if scheme == "v1a":
            with contextlib.suppress(InvalidSignature):
                key.verify(base64.b64decode(text), signed)
                return True
    return False


def test_it_is_the_known_answer_for_ed25519_too() -> None:
    pair = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="

    signed = signature([pair], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')

    assert signed == ("v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==")
    assert public_key(pair) == "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="


@IN_MEMORY
@given(body=st.binary(max_size=500))
def test_whatever_we_sign_the_public_key_verifies_and_no_other_does(body: bytes) -> None:
    private, stranger = new_private_key(), new_private_key()
    signed = headers([private], body)

    assert verify_v1a(public_key(private), signed, body)
    assert not verify_v1a(public_key(stranger), signed, body)
    assert not verify_v1a(public_key(private), signed, body + b"x")
    assert not verify_v1a(public_key(private), signed | {"webhook-timestamp": "1"}, body)


def test_the_public_library_finds_its_v1_among_v1a_signatures() -> None:
    secret, private = new_secret(), new_private_key()

    assert Webhook(secret).verify(b"{}", headers([private, secret, new_private_key()], b"{}")) == {}
