"""A large answer is compressed, if whoever asked takes that."""

import asyncio
import gzip
import secrets

import pytest

from authapi.web.answers import Answer
from authapi.web.compressing import MIN_BYTES, compressed, takes_gzip


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ([], False),
        (["gzip"], True),
        (["br, GZIP ; q=0.001"], True),
        (["br", "gzip"], True),
        (["*"], True),
        (["*;q=0.5, identity"], True),
        (["gzip;q=1.000"], True),
        ([""], False),
        (["br, deflate"], False),
        (["gzip;q=0"], False),
        (["gzip; q=0.000, *"], False),
        (["*;q=0"], False),
        (["x-gzipped"], False),
    ],
)
def test_who_takes_gzip_says_so(accepted: list[str], takes: bool) -> None:
    assert takes_gzip([(b"accept-encoding", value.encode()) for value in accepted]) == takes


@pytest.mark.parametrize(("size", "is_packed"), [(MIN_BYTES, True), (MIN_BYTES - 1, False)])
def test_only_what_is_large_is_compressed(size: int, is_packed: bool) -> None:
    content = "x" * (size - 2)  # and two quotes
    answer = asyncio.run(compressed(Answer(content), [(b"accept-encoding", b"gzip")]))
    assert answer.headers["vary"] == "Accept-Encoding"
    assert (answer.headers.get("content-encoding") == "gzip") == is_packed
    assert int(answer.headers["content-length"]) == len(answer.body)
    body = gzip.decompress(answer.body) if is_packed else answer.body
    assert body == f'"{content}"'.encode()


def test_what_many_ask_for_at_once_is_compressed_once() -> None:
    content = secrets.token_hex(10 * MIN_BYTES)  # which takes as long as it does for ids

    async def act() -> list[Answer]:
        headers = [(b"accept-encoding", b"gzip")]
        alike = (Answer(content) for _ in range(20))
        return await asyncio.gather(*(compressed(answer, headers) for answer in alike))

    first, *others = asyncio.run(act())
    assert gzip.decompress(first.body) == f'"{content}"'.encode()
    assert all(other.body is first.body for other in others)
