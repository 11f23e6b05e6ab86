"""The key document: whoever knows an endpoint's id can verify what it gets, and nothing else."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.database import transaction
from models.endpoint import PRIVATE, Endpoint
from payouts import endpoints as rules
from payouts.signing import signature
from tests.factories import an_endpoint
from tests.receiver.partners.partner import Answer, Partner

PATH = "/.well-known/webhook-keys"


@pytest.fixture
def stranger(a_partner: Callable[..., Partner]) -> Partner:
    """Give somebody without a key."""
    return Partner(a_partner().port, "", {"authorization": ""})


def document(stranger: Partner, endpoint: Endpoint) -> Answer:
    return stranger.get(f"{PATH}?endpoint={endpoint.id}")


def test_the_document_verifies_what_the_endpoint_gets(stranger: Partner) -> None:
    endpoint = an_endpoint(schemes=["v1a"])
    signed = signature(endpoint.secrets().live(datetime.now(UTC), PRIVATE), "evt_1", 7, b"{}")

    answer = document(stranger, endpoint)

    (key,) = answer.json["keys"]
    assert answer.json["endpoint"] == endpoint.id
    assert (key["scheme"], key["algorithm"], key["expires_at"]) == ("v1a", "ed25519", None)
    verifier = Ed25519PublicKey.from_public_bytes(base64.b64decode(key["public_key"].removeprefix("whpk_")))
    verifier.verify(base64.b64decode(signed.removeprefix("v1a,")), b"evt_1.7.{}")
    with pytest.raises(InvalidSignature):
        verifier.verify(base64.b64decode(signed.removeprefix("v1a,")), b"evt_1.8.{}")


def test_it_may_be_kept_for_a_while_and_holds_nothing_private(stranger: Partner) -> None:
    endpoint = an_endpoint(schemes=["v1", "v1a"])

    answer = document(stranger, endpoint)

    assert answer.headers["cache-control"] == "public, max-age=300"
    assert answer.headers["content-type"] == "application/json"
    told = answer.body.decode()
    assert not any(secret.partition("_")[2] in told for secret in endpoint.secrets().live(datetime.now(UTC)))


def test_while_a_key_is_replaced_both_are_there_and_one_says_until_when(stranger: Partner) -> None:
    endpoint, now = an_endpoint(schemes=["v1a"]), datetime.now(UTC)
    (old,) = document(stranger, endpoint).json["keys"]
    with transaction() as session:
        rules.rotate(session, rules.find(session, endpoint.id), actor="test", now=now)

    new, kept = document(stranger, endpoint).json["keys"]

    assert kept["public_key"] == old["public_key"] != new["public_key"]
    assert datetime.fromisoformat(kept["expires_at"]) == now + timedelta(hours=24)


def test_an_endpoint_that_does_not_ask_for_v1a_has_no_keys(stranger: Partner) -> None:
    assert document(stranger, an_endpoint()).json["keys"] == []


def test_a_deleted_or_unknown_endpoint_is_nobodys(stranger: Partner) -> None:
    endpoint = an_endpoint(schemes=["v1a"])
    with transaction() as session:
        rules.delete(session, rules.find(session, endpoint.id), actor="test", now=datetime.now(UTC))

    unknown = stranger.get(f"{PATH}?endpoint=ep_{'0' * 28}")

    assert (document(stranger, endpoint).status, unknown.status, unknown.code) == (404, 404, "unknown_endpoint")


@pytest.mark.parametrize("query", ["", "?endpoint=", "?endpoint=ep_1", "?endpoint=%00", "?endpoint=ep_x%27--", "?x=y"])
def test_without_an_endpoint_it_says_what_to_ask_for(stranger: Partner, query: str) -> None:
    answer = stranger.get(PATH + query)

    assert (answer.status, answer.code) == (400, "endpoint_required")
    assert "ep_" in json.loads(answer.body)["detail"]


def test_it_is_only_read(stranger: Partner) -> None:
    assert stranger.ask("POST", PATH).code == "method_not_allowed"
