"""A FastAPI service that verifies tokens by itself, and refuses those that were logged out."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from auth_api_verifier import Claims, Verifier, VerifierError, bearer_token
from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

verifier = Verifier(os.environ["AUTH_URL"], client_key=os.environ["VERIFIER_KEY"])


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with verifier:
        yield


app = FastAPI(lifespan=lifespan)


async def caller(request: Request) -> Claims:
    return await verifier.verify(bearer_token(request.headers.get("Authorization")))


@app.exception_handler(VerifierError)
async def refuse(request: Request, reason: VerifierError) -> JSONResponse:
    return JSONResponse({"error": reason.error}, reason.status, dict(reason.headers))


@app.get("/report")
async def report(claims: Annotated[Claims, Depends(caller)]) -> dict[str, object]:
    return {"report": [1, 2, 3], "user_id": claims.sub}
