"""Sends a large answer compressed to whoever takes that (RFC 9110, 12.5.3)."""

import asyncio
import gzip
import re
from functools import lru_cache
from threading import Lock

from authapi.web.answers import Answer
from authapi.web.requests import Headers, values_of

MIN_BYTES = 64 * 1024
"""Below, a compressed answer saves nobody anything."""
LEVEL = 1
"""What is random, as ids are, gets little smaller by more of it."""
MAX_KEPT = 2
"""So many are remembered, of 3 MB, since many ask for the same at once: after an outage, all."""

_packing = Lock()


async def compressed(answer: Answer, headers: Headers) -> Answer:
    """The answer to a request with these headers. It is changed, and says what it depends on."""
    answer.headers["Vary"] = "Accept-Encoding"
    if len(answer.body) >= MIN_BYTES and takes_gzip(headers):
        # In a thread: 2 MB take 50 ms, in which nobody else would be answered.
        answer.body = await asyncio.to_thread(_pack, bytes(answer.body))
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Content-Length"] = str(len(answer.body))
    return answer


def _pack(body: bytes) -> bytes:
    with _packing:  # else those who come together would all do the same
        return _packed(body)


@lru_cache(MAX_KEPT)
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, LEVEL, mtime=0)


def takes_gzip(headers: Headers) -> bool:
    """Whether it is named, or `*` is, with a weight above 0."""
    weights = {}
    for coding in b",".join(values_of(b"accept-encoding", headers)).decode("latin-1").split(","):
        name, _, weight = re.sub(r"\s", "", coding.lower()).partition(";q=")
        weights[name] = weight
    weight = weights.get("gzip", weights.get("*", "0"))
    return not re.fullmatch(r"0(\.0*)?", weight)
