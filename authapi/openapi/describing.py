"""What a handler says of itself beside its docstring: what it takes, answers and refuses."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from marshmallow import Schema

from authapi.errors import Refusal
from authapi.web.answers import Handler
from authapi.web.schemas import Payload


@dataclass(frozen=True, slots=True)
class Description:
    """`answers` is the shape of what succeeds, with `status`. `refuses` is what else may come,
    beyond what any request may meet. `security` is one of `SECURITY` in operations.py; a protected
    handler has its own. `path`, `query`, `accepts` and `headers` say what each parameter, each
    header of the request, and each of the answer is for. `is_public` allows that caches keep the
    answer."""

    answers: type[Schema]
    takes: Payload | None = None
    refuses: Sequence[type[Refusal]] = ()
    security: str = "nobody"
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    is_public: bool = False
    tag: str = "yours"
    status: int = 200
    accepts: Mapping[str, str] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)


def describes(description: Description) -> Callable[[Handler], Handler]:
    """Above all other decorators. The docstring's first line is the summary."""

    def decorate(handler: Handler) -> Handler:
        vars(handler)["description"] = description
        return handler

    return decorate


def description_of(handler: object) -> Description | None:
    found: Description | None = vars(handler).get("description") if callable(handler) else None
    return found
