"""Keys are long, recognisable, and kept as a digest alone."""

import hashlib
import zlib

import pytest

from authapi.credentials.client_keys import digest_of, is_well_formed, new_client_key


def test_a_key_has_its_public_id_256_random_bits_and_a_checksum() -> None:
    key = new_client_key()
    prefix, key_id, rest = key.text.split("_")
    secret, checksum = rest[:43], rest[43:]
    assert prefix == "ck"
    assert key_id == key.id
    assert secret.isalnum()
    assert checksum == f"{zlib.crc32(f'ck_{key_id}_{secret}'.encode()):08x}"
    assert is_well_formed(key.text)


def test_no_two_keys_are_alike() -> None:
    keys = [new_client_key() for _ in range(100)]
    assert len({key.text for key in keys}) == len({key.id for key in keys}) == 100


def test_the_digest_is_sha_256() -> None:
    key = new_client_key()
    assert key.digest == digest_of(key.text) == hashlib.sha256(key.text.encode()).hexdigest()


def test_every_single_slip_is_caught_by_the_checksum() -> None:
    text = new_client_key().text
    for index, letter in enumerate(text):
        other = "0" if letter != "0" else "1"
        assert not is_well_formed(text[:index] + other + text[index + 1 :])


@pytest.mark.parametrize("change", ["{}\n", " {}", "{} ", "x{}", "{}0", "{}\0"])
def test_nothing_may_stand_around_a_key(change: str) -> None:
    assert not is_well_formed(change.format(new_client_key().text))
