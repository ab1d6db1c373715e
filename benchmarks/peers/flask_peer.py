"""Flask-JWT-Extended with the database blocklist of its documentation.

Which also has it that a refresh hands out an access token only, and writes nothing; and that a
log-out revokes the one token that it comes with.
"""

import os
import time
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from flask import Flask, Response, jsonify, request
from flask_jwt_extended import (
    JWTManager,
    create_access_token,
    create_refresh_token,
    get_jwt,
    get_jwt_identity,
    jwt_required,
)
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event

ACCESS_SECONDS, REFRESH_SECONDS = 900, 604_800

app = Flask(__name__)
app.config["JWT_SECRET_KEY"] = os.environ["SECRET_KEY"]
app.config["JWT_ACCESS_TOKEN_EXPIRES"] = timedelta(seconds=ACCESS_SECONDS)
app.config["JWT_REFRESH_TOKEN_EXPIRES"] = timedelta(seconds=REFRESH_SECONDS)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"]
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"connect_args": {"timeout": 30}}
jwt = JWTManager(app)
db = SQLAlchemy(app)


class Client(db.Model):
    __tablename__ = "clients"
    id = db.Column(db.String, primary_key=True)
    name = db.Column(db.String, nullable=False)
    scopes = db.Column(db.String, nullable=False)
    created_at = db.Column(db.Integer, nullable=False)
    digest = db.Column(db.String, nullable=False, unique=True)


class TokenBlocklist(db.Model):
    id = db.Column(db.Integer, primary_key=True)
    jti = db.Column(db.String(36), nullable=False, index=True)
    created_at = db.Column(db.DateTime, nullable=False)


with app.app_context():

    @event.listens_for(db.engine, "connect")
    def set_pragmas(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    db.create_all()


@jwt.token_in_blocklist_loader
def is_token_revoked(header: dict[str, Any], payload: dict[str, Any]) -> bool:
    token = db.session.query(TokenBlocklist.id).filter_by(jti=payload["jti"]).scalar()
    return token is not None


@jwt.invalid_token_loader
def answer_invalid(reason: str) -> tuple[Response, int]:
    """A 401, as for an expired token; it would be a 422."""
    return jsonify(msg=reason), 401


def answer_pair(access_token: str, refresh_token: str, user_id: str, seconds: int) -> Response:
    return jsonify(
        access_token=access_token,
        refresh_token=refresh_token,
        user_id=user_id,
        token_type="Bearer",  # noqa: S106
        expires_in=ACCESS_SECONDS,
        refresh_expires_in=seconds,
    )


@app.post("/login")
def login() -> Response | tuple[Response, int]:
    digest = sha256(request.json["client_key"].encode()).hexdigest()
    client = Client.query.filter_by(digest=digest).one_or_none()
    if client is None:
        return jsonify(msg="Bad client key"), 401
    access_token = create_access_token(identity=client.id)
    refresh_token = create_refresh_token(identity=client.id)
    return answer_pair(access_token, refresh_token, client.id, REFRESH_SECONDS)


@app.post("/refresh-token")
@jwt_required(refresh=True, locations=["json"])
def refresh() -> Response:
    identity = get_jwt_identity()
    access_token = create_access_token(identity=identity)
    seconds = get_jwt()["exp"] - int(time.time())
    return answer_pair(access_token, request.json["refresh_token"], identity, seconds)


@app.post("/logout")
@jwt_required()
def logout() -> Response:
    db.session.add(TokenBlocklist(jti=get_jwt()["jti"], created_at=datetime.now(UTC)))
    db.session.commit()
    return jsonify(message="Logged out.")


@app.get("/secure-data")
@jwt_required()
def secure_data() -> Response:
    return jsonify(message="This is what the token opens.", user_id=get_jwt_identity())


@app.get("/me")
@jwt_required()
def me() -> Response | tuple[Response, int]:
    client = db.session.get(Client, get_jwt_identity())
    if client is None:
        return jsonify(msg="Unknown client"), 401
    claims = get_jwt()
    return jsonify(
        user_id=client.id,
        name=client.name,
        scopes=client.scopes.split(),
        created_at=client.created_at,
        session_id=claims["jti"],
        token_expires_at=claims["exp"],
    )
