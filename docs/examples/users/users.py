"""People with passwords and roles, for ROUTES=users:routes; README.md beside says how to run it.

`python -m users migrate` makes the table.
"""

import asyncio
import secrets
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import sqlalchemy as sa
from marshmallow import Schema, ValidationError, fields, validate
from starlette.requests import Request

from authapi.extending import (
    Answer,
    Database,
    Description,
    Endpoint,
    InvalidLogin,
    InvalidScope,
    LoginAnswer,
    Payload,
    Refusal,
    TooManyFailures,
    TooManyLogins,
    begin_session,
    database_of,
    describes,
    login_attempt,
    read_payload,
    register_client,
    requires_scope,
    run_on_database,
)

try:
    from argon2 import PasswordHasher
    from argon2.exceptions import VerifyMismatchError
except ModuleNotFoundError:
    install = f"install it: pip install -r {__file__.removesuffix('users.py')}requirements.txt"
    raise ModuleNotFoundError(f"there is no argon2-cffi; {install}") from None

T = TypeVar("T")

ROLES = {
    "reader": ["reports:read"],
    "editor": ["reports:read", "reports:write"],
}
"""What a role may do. The token says it in scopes, so a route requires a scope and no role."""
PREFIX = "user:"
"""Begins the names of people in the registry: none of them is taken for a machine."""
MAY_REGISTER = "users:register"
"""Of the machine that registers people."""

HASHES_AT_ONCE = 4
"""Each takes a thread and 64 MiB."""
MAX_WAITING = 40
"""So that none waits longer than a request may take."""


# The table


STEPS = (
    "CREATE TABLE users (client_id VARCHAR(32) PRIMARY KEY, name VARCHAR(64) NOT NULL UNIQUE,"
    " password_hash VARCHAR(200) NOT NULL)",
)
"""Add to its end, and change nothing in it."""

users = sa.table("users", sa.column("client_id"), sa.column("name"), sa.column("password_hash"))
ADD_USER = (
    sa.insert(users)
    .values(
        client_id=sa.bindparam("client_id"),
        name=sa.bindparam("name"),
        password_hash=sa.bindparam("password_hash"),
    )
    .returning(users.c.client_id)
)
FIND_USER = sa.select(users).where(users.c.name == sa.bindparam("name"))


async def migrate(database: Database, steps: Sequence[str] = STEPS) -> str:
    """Take the steps that are missing, all or none. To repeat it changes nothing."""

    async def take_steps() -> int:
        await database.fetch_all("CREATE TABLE IF NOT EXISTS users_steps (step BIGINT PRIMARY KEY)")
        taken = {row["step"] for row in await database.fetch_all("SELECT step FROM users_steps")}
        for number, step in enumerate(steps, 1):
            if number not in taken:
                await database.fetch_all(step)
                await database.fetch_all(
                    "INSERT INTO users_steps (step) VALUES (:step)", {"step": number}
                )
        return len(steps)

    return f"The table of users is at step {await database.atomically(take_steps)}."


# Passwords


class Busy(Refusal):
    """Too many passwords wait to be hashed."""

    status = 503
    error = "busy"
    description = "Too many logins are under way; try again."
    headers: Mapping[str, str] = {"Retry-After": "1"}


class Passwords:
    """Argon2id, in threads of its own: it takes 50 ms, in which the event loop serves others."""

    def __init__(self, hasher: PasswordHasher) -> None:
        self._hasher = hasher
        self._threads = ThreadPoolExecutor(HASHES_AT_ONCE, "passwords")
        self._waiting = 0
        # Of no password that anybody has. It is verified where there is no user, since an answer
        # that comes sooner would tell who has an account.
        self._nobodys = hasher.hash(secrets.token_hex())
        self.verified = 0
        """How many were, right or wrong."""

    async def hash(self, password: str) -> str:
        return await self._in_thread(lambda: self._hasher.hash(_normal(password)))

    async def match(self, password: str, password_hash: str | None) -> bool:
        """Whether the hash is that of the password. Without a hash it is not, and takes as long."""
        return await self._in_thread(lambda: self._verify(password, password_hash))

    def _verify(self, password: str, password_hash: str | None) -> bool:
        self.verified += 1
        try:
            self._hasher.verify(password_hash or self._nobodys, _normal(password))
        except VerifyMismatchError:
            return False
        return password_hash is not None

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._waiting >= MAX_WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1


def _normal(password: str) -> str:
    """Keyboards differ in how they write an accent."""
    return unicodedata.normalize("NFKC", password)


passwords = Passwords(PasswordHasher())


# The routes


def known_roles(text: str) -> None:
    if not text.split() or not set(text.split()) <= ROLES.keys():
        raise ValidationError(f"Roles are {', '.join(ROLES)}, with spaces between.")


class Registration(Payload):
    name = fields.String(required=True, validate=validate.Regexp(r"[a-z0-9._@+-]{1,64}\Z"))
    password = fields.String(required=True, validate=validate.Length(15, 128))
    roles = fields.String(load_default="reader", validate=known_roles)


class Login(Payload):
    name = fields.String(required=True)
    password = fields.String(required=True)
    scope = fields.String(load_default="")


REGISTRATION = Registration()
LOGIN = Login()


class UserAnswer(Schema):
    """A person is registered."""

    user_id = fields.String(required=True)
    name = fields.String(required=True)
    scope = fields.String(required=True)


class NameTaken(Refusal):
    """Only the machine that registers people is told so."""

    status = 409
    error = "name_taken"
    description = "There is a user of this name already."


@describes(Description(UserAnswer, takes=REGISTRATION, refuses=[NameTaken, Busy], tag="users"))
@requires_scope(MAY_REGISTER)
async def register(request: Request) -> Answer:
    """Register a person."""
    payload = await read_payload(request, REGISTRATION)
    name, database = payload["name"], database_of(request)
    password_hash = await passwords.hash(payload["password"])
    scopes = [scope for role in payload["roles"].split() for scope in ROLES[role]]
    scope = " ".join(dict.fromkeys(scopes))

    async def add_user(client_id: str) -> None:
        values = {"client_id": client_id, "name": name, "password_hash": password_hash}
        await database.fetch_all(ADD_USER, values)

    user_id = await register_client(request, PREFIX + name, scope, add_user)
    if user_id is None:
        raise NameTaken
    return Answer({"user_id": user_id, "name": name, "scope": scope})


@describes(
    Description(
        LoginAnswer,
        takes=LOGIN,
        refuses=[InvalidLogin, InvalidScope, TooManyFailures, TooManyLogins, Busy],
        tag="users",
    )
)
async def log_in(request: Request) -> Answer:
    """Exchange a password for the tokens of a new session."""
    payload = await read_payload(request, LOGIN)
    async with login_attempt(request):
        user = await database_of(request).fetch_one(FIND_USER, {"name": payload["name"]})
        known = user["password_hash"] if user else None
        matches = await passwords.match(payload["password"], known)
        if user is None:
            raise InvalidLogin("unknown user")
        if not matches:
            raise InvalidLogin("wrong password", client=user["client_id"])
        return Answer(await begin_session(request, user["client_id"], payload["scope"]))


routes = [
    Endpoint("/users", register, "POST"),
    Endpoint("/users/login", log_in, "POST"),
]

if __name__ == "__main__":
    if sys.argv[1:] != ["migrate"]:
        sys.exit("Usage: python -m users migrate")
    run_on_database(migrate)
