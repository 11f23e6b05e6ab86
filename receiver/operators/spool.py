"""Answers that may be long: written to their end before they begin, outside memory, and sent at their reader's pace.

So nobody gets half a file that looks whole, and no transaction is open while somebody downloads.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from tempfile import SpooledTemporaryFile
from typing import Final

from starlette.responses import Response, StreamingResponse

IN_MEMORY: Final = 1 << 20
"""Bytes; what is longer goes to a file without a name."""
PIECE: Final = 1 << 16

Spool = SpooledTemporaryFile[str]


@contextmanager
def spool() -> Iterator[Spool]:
    """Lend where to write an answer. It is closed if writing fails, and else once it is sent."""
    with ExitStack() as if_it_fails:
        yield if_it_fails.enter_context(SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline=""))
        if_it_fails.pop_all()


def answer(written: Spool, media_type: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return what was written as an answer, which closes it."""
    written.seek(0)
    return StreamingResponse(_pieces(written), media_type=media_type, headers=headers)


def _pieces(written: Spool) -> Iterator[str]:
    with written:
        yield from iter(lambda: written.read(PIECE), "")
