"""One JSON object per log line: a static dotted name, ids as keywords, never a secret or a raw body.

An error is told by its frames and its class. Its own words are left out, for they quote what it stumbled over: Python's
a piece of a body, PostgreSQL's a whole row.
"""

import logging
import sys
import threading
import traceback
from types import TracebackType
from typing import Any, Final

import structlog
from structlog.typing import EventDict, ExcInfo


def _told(exc_info: ExcInfo) -> str:
    """Return a traceback without words; what an error was caused by comes before it, as Python prints it.

    So does what a group holds.
    """
    told: dict[int, str] = {}
    _tell(exc_info[1], told)
    return "\n".join(reversed(told.values()))


def _tell(error: BaseException | None, told: dict[int, str]) -> None:
    while error is not None and id(error) not in told:  # an error may be raised from itself
        kind = type(error)
        told[id(error)] = f"{''.join(traceback.format_tb(error.__traceback__))}{kind.__module__}.{kind.__qualname__}"
        if isinstance(error, BaseExceptionGroup):
            for one in error.exceptions:
                _tell(one, told)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


frames_and_kinds: Final = structlog.processors.ExceptionRenderer(_told)


def configure(process: str, level: str = "info") -> None:
    """Send structlog and the standard library's loggers to stderr as JSON, marked with the process's name."""
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            frames_and_kinds,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.stdlib.add_logger_name,
            _without_arguments,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            frames_and_kinds,
            structlog.processors.JSONRenderer(),
        ],
    )
    lines = logging.StreamHandler(sys.stderr)
    lines.setFormatter(formatter)
    logging.root.handlers = [lines]
    logging.root.setLevel(max(number, logging.WARNING))
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def configure_for_people() -> None:
    """Send what a command logs to stderr in lines that people read: its answer alone is on stdout."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, frames_and_kinds, structlog.dev.ConsoleRenderer(colors=False)],
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _without_arguments(_: Any, __: str, event: EventDict) -> EventDict:
    """Cut what asyncio says of a task or a callback that failed: it goes on with the repr of its error or arguments."""
    if event["logger"] == "asyncio":
        event["event"] = event["event"].partition("\n")[0].partition("(")[0]
    return event


def _uncaught(kind: type[BaseException], error: BaseException, frames: TracebackType | None) -> None:
    structlog.get_logger(__name__).critical("error.uncaught", exc_info=(kind, error, frames))


def _uncaught_in_thread(died: threading.ExceptHookArgs) -> None:
    if died.exc_type is not SystemExit:
        structlog.get_logger(__name__).critical("error.uncaught", exc_info=died.exc_value)
