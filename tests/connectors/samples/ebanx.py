"""EBANX: a notification that names one payout. As JSON, which the suite can take apart; test_ebanx.py has the form."""

import json
from datetime import datetime

from connectors._base import Account, PayoutUpdate
from sandbox.signers import ebanx
from tests.connectors.keys import a_leaf, an_rsa_key, as_arrived, certificate_pem
from tests.connectors.sample import Headers, Sample

KEY, OTHER = an_rsa_key(), an_rsa_key(1)
CERTIFICATE = a_leaf(KEY, "ebanx.example.test", (KEY, "ebanx.example.test"))
OTHER_CERTIFICATE = a_leaf(OTHER, "ebanx.example.test", (OTHER, "ebanx.example.test"))
CODE = "0f28f5b2bf60536d78b2dbf003c13886dd452d926"


def a_notification(operation: str = "payout_status_change", codes: str = CODE) -> bytes:
    """Return a notification about these payouts."""
    return json.dumps({"operation": operation, "notification_type": "update", "hash_codes": codes}).encode()


def sign(body: bytes, secret: str, at: datetime) -> Headers:
    """Sign under the certificate that is the secret."""
    del at
    key, certificate = (KEY, CERTIFICATE) if secret == SAMPLE.secret else (OTHER, OTHER_CERTIFICATE)
    return as_arrived(ebanx.sign(body, key, ebanx.fingerprint(certificate)))


SAMPLE = Sample(
    secret=certificate_pem(CERTIFICATE),
    other_secrets=(certificate_pem(OTHER_CERTIFICATE), "invented"),
    body=a_notification(),
    sign=sign,
    hints_only=True,
    names_its_status=False,
    says=PayoutUpdate(reference=CODE, status=None, said="payout_status_change"),
    body_saying=a_notification,
    other_subject=a_notification("payment_status_change", "5d3a32"),
    account=Account(credentials={"integration_key": "invented"}),
    reads_by_key=True,
)
