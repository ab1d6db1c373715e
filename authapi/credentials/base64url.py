"""base64url without padding, as in tokens and ids (RFC 7515, 2)."""

from binascii import a2b_base64, b2a_base64

_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/!!!")
_LAST = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}
"""By the number of letters past the last four: those whose unused bits are zero."""


def encode(data: bytes) -> bytes:
    return b2a_base64(data, newline=False).translate(_TO_URL).rstrip(b"=")


def decode(text: bytes) -> bytes:
    """Raises `ValueError` for any spelling but the one that `encode` makes."""
    past = len(text) % 4
    if past and text[-1] not in _LAST.get(past, b""):
        raise ValueError("not canonical base64url")
    return a2b_base64(text.translate(_FROM_URL) + b"=" * (-past % 4), strict_mode=True)
