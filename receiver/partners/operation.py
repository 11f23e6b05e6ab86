"""One way to declare an operation: what routes it, validates it, guards it and describes it is said once.

A function under `@operation` takes a `Call`, the path's parameters by name, `body` and `query` as it wants them, and
returns what is shown. Their annotations are pydantic models: they validate, and they become the OpenAPI document.
It runs in a thread, in the one transaction of its request; what must follow the commit it gives to `Call.then`.
"""

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, get_type_hints

from pydantic import BaseModel
from sqlmodel import Session
from starlette.datastructures import Headers

from models.api_key import Scope
from payouts.keys import Caller, authenticate
from receiver.partners.refusals import CODES, Refusal


@dataclass(slots=True)
class Call:
    """One request, let in: who asks, and the transaction in which it is answered."""

    session: Session = field(repr=False)
    caller: Caller
    now: datetime
    request_id: str
    headers: dict[str, str] = field(default_factory=dict)
    """Of the answer: `location` where something was created."""
    payout_id: str | None = None
    """The payout that was created, for idempotency: while it is in flight the answer is remembered."""
    after_commit: list[Callable[[], None]] = field(default_factory=list, repr=False)
    outside: Callable[[], BaseModel] | None = field(default=None, repr=False)

    def then(self, enqueue: Callable[[], None]) -> None:
        """Do this once the transaction is committed. If the queue is away, the reconciler takes it up."""
        self.after_commit.append(enqueue)

    def ask_outside(self, ask: Callable[[], BaseModel]) -> None:
        """Let `ask` give the answer after the commit, with no transaction open, because it waits for somebody else.

        Not for what is remembered under an Idempotency-Key: that is written before the commit.
        """
        self.outside = ask

    @property
    def actor(self) -> str:
        """Return who it was, for the audit trail."""
        return f"key:{self.caller.key_id}"


Identify = Callable[[Session, Headers, datetime], Caller]
"""Tells who asks. Raises `Refusal`."""


@dataclass(frozen=True, slots=True)
class Security:
    """A way to be let in, and how OpenAPI calls it."""

    name: str
    scheme: Mapping[str, Any]
    identify: Identify
    refusals: tuple[str, ...]


def shown_key(headers: Headers) -> str:
    """Return the key that a request shows: `Bearer sk_…`, or bare. Empty when there is none."""
    given = headers.get("authorization", "").strip()
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else given


def _by_key(session: Session, headers: Headers, now: datetime) -> Caller:
    caller = authenticate(session, shown_key(headers), now)
    if caller is None:
        raise Refusal("invalid_api_key", "the key is missing, malformed, revoked or expired")
    return caller


API_KEY: Final = Security(
    "api_key",
    {"type": "http", "scheme": "bearer", "description": "`sk_live_…` or `sk_test_…`; the bare key is accepted too."},
    _by_key,
    ("invalid_api_key", "missing_scope", "too_many_requests"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    function: Callable[..., Any] = field(repr=False)
    scope: Scope | None
    security: Security
    tag: str
    summary: str
    description: str
    status: int
    answer: type[BaseModel] | None
    body: type[BaseModel] | None
    query: type[BaseModel] | None
    parameters: tuple[str, ...]
    refusals: tuple[str, ...]
    examples: Mapping[str, Mapping[str, Any]]
    prepare: Callable[..., Any] | None = field(repr=False)
    is_idempotent: bool
    """Whether `Idempotency-Key` is honoured: at every POST by key."""
    invalid: str
    """The code for a body or a query that does not validate."""

    @property
    def name(self) -> str:
        """Return its name in the document and in logs."""
        return self.function.__name__


def operation(  # noqa: PLR0913 (a declaration: one argument for each thing that is said)
    method: str,
    path: str,
    *,
    scope: Scope | None,
    summary: str,
    tag: str,
    status: int = 200,
    refusals: Sequence[str] = (),
    examples: Mapping[str, Mapping[str, Any]] | None = None,
    security: Security = API_KEY,
    prepare: Callable[..., Any] | None = None,
    invalid: str = "invalid_request",
) -> Callable[[Callable[..., Any]], Operation]:
    """Declare the function below as an operation. Its docstring becomes the description.

    Args:
        method: GET, POST, PATCH, PUT or DELETE.
        path: with parameters in braces, each an argument of the function.
        scope: what a key needs; None only where `security` is not by key.
        summary: a few words, for the list of operations.
        tag: the group it is shown in.
        status: of success.
        refusals: the codes of its own rules, each in `CODES`; those of every operation come along by themselves.
        examples: request bodies by name.
        security: how one is let in.
        prepare: called before the transaction opens, with the same arguments but the call, for what may take its time,
            like asking a resolver. What it returns is the argument `prepared`.
        invalid: the code for what does not validate.
    """
    unknown = {code for code in (*refusals, invalid) if code not in CODES}
    if unknown:
        raise ValueError(f"not in CODES: {', '.join(sorted(unknown))}")

    def declare(function: Callable[..., Any]) -> Operation:
        hints = get_type_hints(function)
        parameters = tuple(re.findall(r"{(\w+)}", path))
        takes = set(inspect.signature(function).parameters) - {"call", "body", "query", "prepared"}
        if takes != set(parameters):
            raise ValueError(f"{function.__name__} takes {sorted(takes)}, its path gives {sorted(parameters)}")
        return Operation(
            method=method,
            path=path,
            function=function,
            scope=scope,
            security=security,
            tag=tag,
            summary=summary,
            description=inspect.getdoc(function) or "",
            status=status,
            answer=None if hints["return"] is type(None) else hints["return"],
            body=hints.get("body"),
            query=hints.get("query"),
            parameters=parameters,
            refusals=tuple(refusals),
            examples=examples or {},
            prepare=prepare,
            is_idempotent=method == "POST" and security is API_KEY,
            invalid=invalid,
        )

    return declare
