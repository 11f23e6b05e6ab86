"""The signers, against answers that somebody else computed."""

from decimal import Decimal

from sandbox.fedapay import FedaPay
from sandbox.mollie import Mollie
from sandbox.paycore import PayCore
from sandbox.php import as_php
from sandbox.sender import Sender
from sandbox.world import World

WORLD = World(seed=7)
SENDER = Sender(WORLD)


def test_mollie_signs_as_its_own_sdk_expects() -> None:
    # mollie/mollie-api-php, tests/Webhooks/SignatureValidatorTest.php
    body = b'{"id":"tr_12345","event_type":"payment-link.paid"}'

    headers = Mollie(WORLD, SENDER).sign("test_webhook_secret", body, 0)

    expected = "sha256=e479a5e4aaa17db94cfc546071e10e91c0b37f21e464e751ebdd7d7ad2ffd146"
    assert headers == {"X-Mollie-Signature": expected}


def test_fedapay_signs_as_its_own_sdk_expects() -> None:
    # fedapay/fedapay-php, tests/WebhookTest.php
    body = b'{\n  "id": "evt_test_webhook",\n  "object": "event"\n}'

    headers = FedaPay(WORLD, SENDER).sign("whsec_test_secret", body, 12345)

    expected = "t=12345,s=2672d138c9a412830f3bfe2ecc5bfb3277cf6f5b49d0119d77dd6cb64da1257e"
    assert headers == {"X-FEDAPAY-SIGNATURE": expected}


def test_paycore_signs_as_openssl_computes_the_documented_formula() -> None:
    # printf '%s' 'sk_test_paycore{"data":{"id":"cpoi_1"}}sk_test_paycore' | openssl dgst -sha1 -binary | base64
    headers = PayCore(WORLD, SENDER).sign("sk_test_paycore", b'{"data":{"id":"cpoi_1"}}', 0)

    assert headers == {"X-Signature": "qbe2L1sW8R5Awu8pSQ8E6A1j8b4="}


def test_php_escapes_slashes_empties_objects_and_keeps_decimals_exact() -> None:
    document = {"url": "https://a.test/b", "fields": {}, "list": [{}], "amount": Decimal("12.50"), "name": "é"}

    written = as_php(document)

    assert written == rb'{"url":"https:\/\/a.test\/b","fields":[],"list":[[]],"amount":12.5,"name":"\u00e9"}'
