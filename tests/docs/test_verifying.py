"""Every example of docs/verifying-our-webhooks.md, run in its own language: what we sign passes, nothing else does."""

import json
import time
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from models.endpoint import new_private_key, new_secret
from payouts.signing import public_key, signature
from tests.docs import verifiers
from tests.docs.verifiers import Case, Judge
from tests.workers.partners import a_partner

pytestmark = pytest.mark.timeout(300)

SECRET: Final = new_secret()
OLD_SECRET: Final = new_secret()
PRIVATE_KEY: Final = new_private_key()
BODY: Final = '{"type": "payout.delivered", "data": {"reference": "Zürich – 1"}}'.encode()


def a_case(
    secrets: Sequence[str] = (SECRET,), *, age: int = 0, body: bytes = BODY, secret: str = SECRET, **headers: str | None
) -> Case:
    """Return a request as we send it, with what the test changes about it."""
    now = int(time.time()) - age
    signed = {
        "webhook-id": "evt_1",
        "webhook-timestamp": str(now),
        "webhook-signature": signature(secrets, "evt_1", now, BODY),
    }
    changed = {f"webhook-{name}": value for name, value in headers.items()}
    return Case(secret, {name: value for name, value in {**signed, **changed}.items() if value is not None}, body)


def accepted() -> dict[str, Case]:
    ours = a_case().headers["webhook-signature"]
    return {
        "as it is sent": a_case(),
        "at the edge of the tolerance": a_case(age=280),
        "while the secret is rotated, with the new one": a_case((SECRET, OLD_SECRET)),
        "while the secret is rotated, with the old one": a_case((OLD_SECRET, SECRET)),
        "beside a version that it does not know": a_case(signature=f"v1a,{b64encode(bytes(64)).decode()} {ours}"),
    }


def refused() -> dict[str, Case]:
    ours = a_case().headers["webhook-signature"]
    flipped = f"v1,{'B' if ours[3] == 'A' else 'A'}{ours[4:]}"
    return {
        "another body": a_case(body=BODY + b" "),
        "another id": a_case(id="evt_2"),
        "another signature": a_case(signature=flipped),
        "another secret": a_case(secret=new_secret()),
        "too old": a_case(age=320),
        "too far ahead": a_case(age=-320),
        "another timestamp than was signed": a_case(timestamp=str(int(time.time()) - 5)),
        "the right signature under another version": a_case(signature=ours.replace("v1,", "v2,")),
        "a part of the signature": a_case(signature=ours[:20]),
        "no signature": a_case(signature=None),
        "an empty signature": a_case(signature=""),
        "an empty v1": a_case(signature="v1,"),
        "a version alone": a_case(signature="v1"),
        "a signature that is no base64": a_case(signature="v1,%%%"),
        "no id": a_case(id=None),
        "no timestamp": a_case(timestamp=None),
        "a timestamp that is no number": a_case(timestamp="yesterday"),
        "a timestamp beyond all numbers": a_case(timestamp="9" * 30),
    }


@pytest.fixture(
    scope="module",
    params=[verifiers.python, verifiers.node, verifiers.go, verifiers.php, verifiers.openssl],
    ids=lambda prepare: prepare.__name__,
)
def judge(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Return one example, ready to run."""
    ready: Judge = request.param(tmp_path_factory.mktemp("verifier"))
    return ready


def test_what_we_send_is_accepted(judge: Judge) -> None:
    cases = accepted()

    assert dict(zip(cases, judge(list(cases.values())), strict=True)) == dict.fromkeys(cases, True)


def test_nothing_else_is(judge: Judge) -> None:
    cases = refused()

    assert dict(zip(cases, judge(list(cases.values())), strict=True)) == dict.fromkeys(cases, False)


@pytest.mark.parametrize("prepare", [verifiers.public_key, verifiers.public_key_in_node])
def test_the_public_key_verifies_what_we_send_and_nothing_else(
    prepare: Callable[[Path], Judge], tmp_path: Path
) -> None:
    judge = prepare(tmp_path)
    keyed = partial(a_case, secret=public_key(PRIVATE_KEY))
    mine = (PRIVATE_KEY,)
    ours = keyed(mine).headers["webhook-signature"]
    good = {
        "as it is sent": keyed(mine),
        "beside a v1 signature": keyed((SECRET, PRIVATE_KEY)),
        "while the key is rotated": keyed((new_private_key(), PRIVATE_KEY)),
        "at the edge of the tolerance": keyed(mine, age=280),
    }
    bad = {
        "another key": keyed((new_private_key(),)),
        "a v1 signature alone": keyed((SECRET,)),
        "its signature as v1": keyed(mine, signature=ours.replace("v1a", "v1")),
        "another body": keyed(mine, body=BODY + b" "),
        "another id": keyed(mine, id="evt_2"),
        "too old": keyed(mine, age=320),
        "too far ahead": keyed(mine, age=-320),
        "another timestamp than was signed": keyed(mine, timestamp=str(int(time.time()) - 5)),
        "a part of the signature": keyed(mine, signature=ours[:20]),
        "a signature that is no base64": keyed(mine, signature="v1a,%%%"),
        "an empty signature": keyed(mine, signature=""),
        "no signature": keyed(mine, signature=None),
        "no timestamp": keyed(mine, timestamp=None),
        "a timestamp that is no number": keyed(mine, timestamp="yesterday"),
        "a timestamp without end": keyed(mine, timestamp="9" * 5000),
    }

    assert dict(zip(good, judge(list(good.values())), strict=True)) == dict.fromkeys(good, True)
    assert dict(zip(bad, judge(list(bad.values())), strict=True)) == dict.fromkeys(bad, False)


def test_the_webhook_sent_with_curl_is_a_valid_one(tmp_path: Path) -> None:
    script = verifiers.examples("Send yourself one", "bash")
    with a_partner() as partner:
        script = script.replace("https://partner.example/hooks", partner.url)
        ended = verifiers.run(["bash", "-c", script], tmp_path)

    assert ended.returncode == 0, ended.stderr
    (got,) = partner.got
    case = Case(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        {name: value for name, value in got.headers.items() if name.startswith("webhook-")},
        got.body,
    )
    assert verifiers.python(tmp_path)([case]) == [True]
    assert json.loads(got.body)["type"] == "endpoint.ping"
