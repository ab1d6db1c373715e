"""The headers of a request, as the server hands them over: names in lower case, in their order."""

from collections.abc import Iterable

Headers = Iterable[tuple[bytes, bytes]]


def values_of(name: bytes, headers: Headers) -> list[bytes]:
    """What stands in each header of this name: there may be several, and none is preferred."""
    values = []
    for each, value in headers:
        if each == name:
            values.append(value)
    return values
