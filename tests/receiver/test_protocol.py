"""The bounds that uvicorn does not have."""

import json
from collections.abc import Iterator

import pytest
from starlette.types import Receive, Scope, Send

from receiver.protocol import LARGEST_HEAD, LARGEST_IGNORED
from tests.receiver.doors import Door, a_server, answer, answers, closes

HEAD = b"POST / HTTP/1.1\r\nhost: ratchet.test\r\n"


async def _hasty(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer without reading the body."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture(scope="module")
def hasty() -> Iterator[Door]:
    with a_server(_hasty) as door:
        yield door


def test_a_body_nobody_waits_for_is_swallowed_within_a_bound_and_the_connection_stays(hasty: Door) -> None:
    body = b"x" * (LARGEST_IGNORED - 1)
    with hasty.connect() as connection:
        connection.sendall(HEAD + b"content-length: %d\r\n\r\n" % len(body) + body)
        first = answer(connection)
        connection.sendall(HEAD + b"content-length: 0\r\n\r\n")
        second = answer(connection)

    assert (first.status, second.status) == (200, 200)


def test_an_endless_body_nobody_waits_for_is_cut_off(hasty: Door) -> None:
    with hasty.connect() as connection:
        connection.sendall(HEAD + b"content-length: 99999999999\r\n\r\n")

        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            connection.sendall(b"x" * 100 * LARGEST_IGNORED)


def test_a_refusal_is_a_whole_problem_document_and_closes(hasty: Door) -> None:
    with hasty.connect() as connection:
        connection.sendall(b"garbage\r\n\r\n")
        reply = answer(connection)

        assert closes(connection)
    assert (reply.status, reply.code, reply.headers["connection"]) == (400, "malformed_request", "close")
    assert json.loads(reply.body)["title"]


@pytest.mark.parametrize(("size", "status"), [(LARGEST_HEAD - 1000, 200), (LARGEST_HEAD + 1000, 431)])
def test_the_bound_on_the_head_is_where_it_says(hasty: Door, size: int, status: int) -> None:
    with hasty.connect() as connection:
        connection.sendall(HEAD + b"a: " + b"x" * size + b"\r\n\r\n")

        assert answer(connection).status == status


def test_many_small_heads_on_one_connection_do_not_add_up(hasty: Door) -> None:
    with hasty.connect() as connection:
        for _ in range(30):
            connection.sendall((HEAD + b"a: " + b"x" * 900 + b"\r\n\r\n") * 10)
            assert [reply.status for reply in answers(connection, 10)] == [200] * 10
