"""FastAPI, python-jose and SQLAlchemy, as FastAPI's tutorial has them: what we re-implement.

A refresh spends its token, and a log-out ends the access token and the refresh token that came
with it: a row for each, which every request looks for.
"""

import os
import time
from collections.abc import Iterator
from hashlib import sha256
from typing import Annotated, Any
from uuid import uuid4

from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from jose import JWTError, jwt
from pydantic import BaseModel
from sqlalchemy import String, create_engine, event, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

SECRET_KEY = os.environ["SECRET_KEY"]
ACCESS_SECONDS, REFRESH_SECONDS = 900, 604_800

engine = create_engine(
    os.environ["DATABASE_URL"], connect_args={"check_same_thread": False, "timeout": 30}
)


@event.listens_for(engine, "connect")
def set_pragmas(connection: Any, record: Any) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")


class Base(DeclarativeBase):
    pass


class Client(Base):
    __tablename__ = "clients"
    id: Mapped[str] = mapped_column(String, primary_key=True)
    name: Mapped[str]
    scopes: Mapped[str]
    created_at: Mapped[int]
    digest: Mapped[str] = mapped_column(String, unique=True)


class RevokedToken(Base):
    __tablename__ = "revoked_tokens"
    jti: Mapped[str] = mapped_column(String, primary_key=True)
    expires_at: Mapped[int]


class LoginPayload(BaseModel):
    client_key: str


class RefreshPayload(BaseModel):
    refresh_token: str


class TokenAnswer(BaseModel):
    access_token: str
    refresh_token: str
    user_id: str
    token_type: str = "Bearer"  # noqa: S105
    expires_in: int = ACCESS_SECONDS
    refresh_expires_in: int = REFRESH_SECONDS


class SecureDataAnswer(BaseModel):
    message: str
    user_id: str


class MeAnswer(BaseModel):
    user_id: str
    name: str
    scopes: list[str]
    created_at: int
    session_id: str
    token_expires_at: int


class MessageAnswer(BaseModel):
    message: str


Base.metadata.create_all(engine)
app = FastAPI()
bearer = HTTPBearer()


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session)]


def verify(session: Session, kind: str, token: str) -> dict[str, Any]:
    try:
        claims: dict[str, Any] = jwt.decode(token, SECRET_KEY, algorithms=["HS256"])
    except JWTError:
        raise HTTPException(401, "Could not validate credentials") from None
    if claims["type"] != kind or session.get(RevokedToken, claims["jti"]):
        raise HTTPException(401, "Could not validate credentials")
    return claims


def get_claims(
    session: SessionDep, credentials: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]
) -> dict[str, Any]:
    return verify(session, "access", credentials.credentials)


ClaimsDep = Annotated[dict[str, Any], Depends(get_claims)]


def make_pair(user_id: str) -> TokenAnswer:
    now = int(time.time())
    refresh = {"sub": user_id, "type": "refresh", "jti": uuid4().hex, "iat": now}
    access = {"sub": user_id, "type": "access", "jti": uuid4().hex, "iat": now}
    access |= {"exp": now + ACCESS_SECONDS, "refresh_jti": refresh["jti"]}
    refresh |= {"exp": now + REFRESH_SECONDS}
    return TokenAnswer(
        access_token=jwt.encode(access, SECRET_KEY, algorithm="HS256"),
        refresh_token=jwt.encode(refresh, SECRET_KEY, algorithm="HS256"),
        user_id=user_id,
    )


@app.post("/login")
def login(payload: LoginPayload, session: SessionDep) -> TokenAnswer:
    digest = sha256(payload.client_key.encode()).hexdigest()
    client = session.scalar(select(Client).where(Client.digest == digest))
    if client is None:
        raise HTTPException(401, "Incorrect client key")
    return make_pair(client.id)


@app.post("/refresh-token")
def refresh_token(payload: RefreshPayload, session: SessionDep) -> TokenAnswer:
    claims = verify(session, "refresh", payload.refresh_token)
    session.add(RevokedToken(jti=claims["jti"], expires_at=claims["exp"]))
    try:
        session.commit()
    except IntegrityError:
        raise HTTPException(401, "Could not validate credentials") from None
    return make_pair(claims["sub"])


@app.post("/logout")
def logout(claims: ClaimsDep, session: SessionDep) -> MessageAnswer:
    session.merge(RevokedToken(jti=claims["jti"], expires_at=claims["exp"]))
    refresh_end = claims["iat"] + REFRESH_SECONDS
    session.merge(RevokedToken(jti=claims["refresh_jti"], expires_at=refresh_end))
    session.commit()
    return MessageAnswer(message="Logged out.")


@app.get("/secure-data")
def secure_data(claims: ClaimsDep) -> SecureDataAnswer:
    return SecureDataAnswer(message="This is what the token opens.", user_id=claims["sub"])


@app.get("/me")
def me(claims: ClaimsDep, session: SessionDep) -> MeAnswer:
    client = session.get(Client, claims["sub"])
    if client is None:
        raise HTTPException(401, "Could not validate credentials")
    return MeAnswer(
        user_id=client.id,
        name=client.name,
        scopes=client.scopes.split(),
        created_at=client.created_at,
        session_id=claims["jti"],
        token_expires_at=claims["exp"],
    )
