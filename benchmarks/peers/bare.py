"""The limit: the same routes and answers on Starlette, with nothing to decide and nothing to read.

No authentication, no database, and the bodies of requests stay unread.
"""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

USER_ID = "5b1f6dd7a5c06f2c1f0e"
TOKEN = "e" * 398  # as long as one of ours
SECURE_DATA = {"message": "This is what the token opens.", "user_id": USER_ID}
ME = {
    "user_id": USER_ID,
    "name": "client-500",
    "scopes": [],
    "created_at": 1_800_000_000,
    "session_id": "x7GjW00zEB6ewi3zsOkgCw",
    "token_expires_at": 1_800_000_900,
}
PAIR = {
    "access_token": TOKEN,
    "refresh_token": TOKEN,
    "user_id": USER_ID,
    "token_type": "Bearer",
    "expires_in": 900,
    "refresh_expires_in": 604_800,
}
LOGGED_OUT = {"message": "Logged out."}


async def secure_data(request: Request) -> JSONResponse:
    return JSONResponse(SECURE_DATA)


async def me(request: Request) -> JSONResponse:
    return JSONResponse(ME)


async def pair(request: Request) -> JSONResponse:
    return JSONResponse(PAIR)


async def logout(request: Request) -> JSONResponse:
    return JSONResponse(LOGGED_OUT)


app = Starlette(
    routes=[
        Route("/secure-data", secure_data),
        Route("/me", me),
        Route("/login", pair, methods=["POST"]),
        Route("/refresh-token", pair, methods=["POST"]),
        Route("/logout", logout, methods=["POST"]),
    ]
)
