"""base64url without padding, as in tokens and ids (RFC 7515, 2)."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error


def encode(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Raises `ValueError` for any spelling but the one that `encode` makes."""
    data = urlsafe_b64decode(text + b"==")
    if encode(data) != text:
        raise Error("not canonical base64url")
    return data
