"""How the server ends when it cannot begin."""

import socket

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from authapi.server.main import serve


async def broken(scope: Scope, receive: Receive, send: Send) -> None:
    raise RuntimeError("cannot start")


def test_a_start_that_fails_is_an_exit_code_and_shows_the_key_all_the_same(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as listener, pytest.raises(SystemExit) as caught:
        listener.bind(("127.0.0.1", 0))
        serve(uvicorn.Config(broken, lifespan="on", log_config=None), listener, "Its key: x\n")
    assert caught.value.code == 3
    assert capsys.readouterr().out == "Its key: x\n"
