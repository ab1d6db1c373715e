"""There is one spelling of each text, and no other is read."""

import binascii
from itertools import product

import pytest

from authapi.credentials import base64url

LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize("length", range(40))
def test_what_is_written_is_read(length: int) -> None:
    for number in range(256):
        data = bytes(number * (place + 1) % 256 for place in range(length))
        text = base64url.encode(data)
        assert set(text) <= set(LETTERS)
        assert base64url.decode(text) == data


@pytest.mark.parametrize("beginning", [b"", b"A", b"AB", b"ABC"])
def test_no_other_spelling_is_read(beginning: bytes) -> None:
    """With any two bytes behind it: other letters, padding, spaces, bits that mean nothing."""
    read = 0
    for end in product(range(256), repeat=2):
        text = beginning + bytes(end)
        try:
            data = base64url.decode(text)
        except ValueError:
            continue
        assert base64url.encode(data) == text
        read += 1
    assert read == {0: 64 * 4, 1: 64 * 16, 2: 64 * 64, 3: 0}[len(beginning)]


@pytest.mark.parametrize(
    "junk", [b"!!!!", b"\n\n\n\n", b"    ", bytes(4), b"====", b"++++", b"////"]
)
def test_what_is_no_letter_is_not_passed_over(junk: bytes) -> None:
    for text in (junk, b"ABCD" + junk, junk + b"ABCD", b"AB" + junk + b"CD"):
        with pytest.raises(binascii.Error):
            base64url.decode(text)
