"""Ways to spoil a token, and a fast loop that tries them on `Tokens` in-process.

Each takes its choices from a `Random`, so Hypothesis and the loop draw from the same ways. The loop
is run by `make fuzz`; from a printed seed it goes the same way again.
"""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from authapi.credentials.claims import Claims
from authapi.credentials.tokens import ACCESS, REFRESH, Tokens
from authapi.errors import InvalidToken
from tests import forge
from tests.conftest import DATABASE_ID, NOW, SECRET

FALLBACK = "the-secret-before-it-which-only-verifies"
STRANGE = "a-secret-that-this-service-never-held-at-all"
BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ODD = "".join(map(chr, range(256))) + "\u0131\u017f\u212a\uff0e\ud800\U0001f511\u200b"
ODD_HEADERS = (
    {"alg": "none"},
    {"alg": "HS512"},
    {"alg": "RS256"},
    {"kid": "../../dev/null"},
    {"typ": "JWT"},
    {"typ": "rt+jwt"},
    {"typ": "at+jwt"},
    {"crit": ["exp"]},
    {"jwk": {"kty": "oct", "k": "AA"}},
    {"jku": "http://127.0.0.1/"},
)


LIKE_OURS = ("auth-api", "auth-api", 900, 604_800, 10, lambda: NOW)


def new_tokens() -> Tokens:
    """As the service makes them, with a clock that stands still."""
    return _of_database(Tokens([SECRET, FALLBACK], *LIKE_OURS))


def _of_database(tokens: Tokens) -> Tokens:
    tokens.serve(DATABASE_ID)
    return tokens


def real_tokens(tokens: Tokens) -> dict[str, tuple[str, Claims]]:
    """Some that are in force: each kind, signed with each secret, and what they say."""
    others = _of_database(Tokens([FALLBACK], *LIKE_OURS))
    made = {}
    for number, (issuer, typ, scope) in enumerate(
        (issuer, typ, scope)
        for issuer in (tokens, others)
        for typ in (ACCESS, REFRESH)
        for scope in ("", "read write", "\N{KEY} caf\N{LATIN SMALL LETTER E WITH ACUTE}")
    ):
        seconds = 900 if typ == ACCESS else 604_800
        iat = int(NOW) - number
        claims = Claims(
            sub=f"{number:020x}",
            sid=f"session-{number}",
            jti=f"token-{number}",
            key_id=f"{number:016x}",
            scope=scope,
            era=NOW - 0.5 - number if number % 2 else 0,
            iat=iat,
            exp=iat + seconds,
            database_id=DATABASE_ID,
        )
        made[issuer.issue(typ, claims)] = (typ, claims)
    return made


Mutation = Callable[[Random, str, Sequence[str]], str]
MUTATIONS: list[Mutation] = []


def mutation(spoil: Mutation) -> Mutation:
    MUTATIONS.append(spoil)
    return spoil


@mutation
def flip_bit(random: Random, token: str, others: Sequence[str]) -> str:
    at = random.randrange(len(token))
    return token[:at] + chr(ord(token[at]) ^ 1 << random.randrange(8)) + token[at + 1 :]


@mutation
def change_character(random: Random, token: str, others: Sequence[str]) -> str:
    at = random.randrange(len(token))
    return token[:at] + random.choice(BASE64URL) + token[at + 1 :]


@mutation
def change_the_last(random: Random, token: str, others: Sequence[str]) -> str:
    """Some of its bits mean nothing, and a lenient decoder takes any."""
    return token[:-1] + random.choice(BASE64URL)


@mutation
def insert(random: Random, token: str, others: Sequence[str]) -> str:
    at = random.randrange(len(token) + 1)
    text = "".join(random.choice(ODD) for _ in range(random.randint(1, 4)))
    return token[:at] + text + token[at:]


@mutation
def insert_noise(random: Random, token: str, others: Sequence[str]) -> str:
    """What a lenient decoder skips: padding, white space, a dot."""
    at = random.choice([0, len(token), random.randrange(len(token))])
    return token[:at] + random.choice(["=", "==", " ", "\n", "\r\n", "\t", "\0", "."]) + token[at:]


@mutation
def cut(random: Random, token: str, others: Sequence[str]) -> str:
    begin, end = sorted(random.randrange(len(token) + 1) for _ in range(2))
    return token[:begin] + token[end:]


@mutation
def cut_the_end(random: Random, token: str, others: Sequence[str]) -> str:
    return token[: -random.randint(1, 44)]


@mutation
def swap_segments(random: Random, token: str, others: Sequence[str]) -> str:
    segments = token.split(".")
    at = random.randrange(3)
    segments[at] = random.choice(others).split(".")[random.choice([at, at, random.randrange(3)])]
    return ".".join(segments)


@mutation
def shuffle_segments(random: Random, token: str, others: Sequence[str]) -> str:
    segments = [*token.split("."), ""] * random.randint(1, 2)
    random.shuffle(segments)
    return ".".join(segments[: random.randint(1, len(segments))])


@mutation
def splice(random: Random, token: str, others: Sequence[str]) -> str:
    other = random.choice(others)
    return token[: random.randrange(len(token))] + other[random.randrange(len(other)) :]


@mutation
def edit_claims(random: Random, token: str, others: Sequence[str]) -> str:
    """With the signature of what it was, or of a stranger."""
    header, _, signature = token.split(".")
    claims = forge.claims_of(token)
    name = random.choice([*claims, "nbf", "admin"])
    claims[name] = random.choice(
        [None, True, "", "admin", 0, -1, int(NOW) + 10**6, 10**400, 1.5, [], {}, claims.get("sub")]
    )
    unsigned = f"{header}.{forge.segment(claims)}"
    if random.random() < 0.5:
        return f"{unsigned}.{signature}"
    return forge.sign(unsigned, STRANGE)


@mutation
def edit_header(random: Random, token: str, others: Sequence[str]) -> str:
    _, payload, signature = token.split(".")
    content = forge.header_of(token) | random.choice(ODD_HEADERS)
    return f"{forge.segment(content)}.{payload}.{random.choice(['', signature])}"


@mutation
def write_claims_anew(random: Random, token: str, others: Sequence[str]) -> str:
    """The same content in other bytes, under the old signature."""
    header, payload, signature = token.split(".")
    content = forge.decode(payload)
    content = random.choice([content + b" ", b"\xef\xbb\xbf" + content, content[:-1] + b',"x":0}'])
    return f"{header}.{forge.encode(content)}.{signature}"


@mutation
def change_case(random: Random, token: str, others: Sequence[str]) -> str:
    return random.choice([str.swapcase, str.lower, str.upper])(token)


@mutation
def change_alphabet(random: Random, token: str, others: Sequence[str]) -> str:
    """Base64 as others write it, and letters that only look the same."""
    return token.replace(*random.choice([("-", "+"), ("_", "/"), ("A", "\uff21"), ("a", "\u0430")]))


@mutation
def repeat(random: Random, token: str, others: Sequence[str]) -> str:
    """Long ones too: past the limit nothing is parsed."""
    return random.choice([".", "", " ", ","]).join([token] * random.randint(2, 12))


@mutation
def make_up(random: Random, token: str, others: Sequence[str]) -> str:
    alphabet = random.choice([BASE64URL + ".", ODD])
    return "".join(random.choice(alphabet) for _ in range(random.randrange(600)))


def spoil(random: Random, originals: Sequence[str]) -> str:
    """One of the originals after one mutation, or sometimes several; never an original."""
    while True:
        token = random.choice(originals)
        token = random.choice(MUTATIONS)(random, token, originals)
        while random.random() < 0.3 and fits(token):
            token = random.choice(MUTATIONS)(random, token, originals)
        if token not in originals:
            return token


def fits(token: str) -> bool:
    """What an earlier mutation left must still be a token, since the next may take it apart."""
    try:
        parts = [forge.header_of(token), forge.claims_of(token)]
    except (ValueError, IndexError, RecursionError):
        return False
    return token.count(".") == 2 and all(isinstance(part, dict) for part in parts)


@dataclass
class Count:
    accepted: list[str] = field(default_factory=list)
    refused: int = 0
    faults: list[str] = field(default_factory=list)


def run(number: int, seed: int) -> Count:
    """Try that many spoilt tokens, each as both kinds, with and without regard to the time."""
    random = Random(seed)
    tokens = new_tokens()
    originals = list(real_tokens(tokens))
    count = Count()
    for _ in range(number):
        token = spoil(random, originals)
        for judge in (tokens.verify, tokens.read):
            for typ in (ACCESS, REFRESH):
                try:
                    judge(typ, token)
                except InvalidToken:
                    continue
                except Exception as fault:
                    count.faults.append(f"{fault!r} of {token!r}")
                else:
                    count.accepted.append(token)
        count.refused += 1
    count.refused -= len(set(count.accepted)) + len(count.faults)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    begin = time.monotonic()
    count = run(arguments.number, arguments.seed)
    seconds = time.monotonic() - begin
    print(
        f"{arguments.number:,} mutated tokens in {seconds:.0f} s: {len(count.accepted)} accepted, "
        f"{count.refused:,} refused, {len(count.faults)} other exceptions"
    )
    for line in [*count.accepted, *count.faults][:20]:
        print(repr(line))
    sys.exit(bool(count.accepted or count.faults))


if __name__ == "__main__":
    main()
