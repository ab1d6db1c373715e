"""What we use of uvicorn that it promises to nobody: where a name is gone, this is red and says it.

Its minor version is pinned for that reason (requirements.in): this is read when the pin moves.
"""

import ast
import asyncio
import inspect

import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from authapi.server.connections import GuardedProtocol
from authapi.server.one_write import OneWrite

METHODS = {  # that are called, or in whose place there is one of ours, with what they take
    "connection_made": ["transport"],
    "connection_lost": ["exc"],
    "data_received": ["data"],
    "on_message_begin": [],
    "on_headers_complete": [],
    "on_message_complete": [],
    "on_response_complete": [],
    "_start_asgi_task": ["cycle", "app"],
}
ATTRIBUTES = {
    "client",
    "connections",
    "cycle",
    "flow",
    "headers",
    "loop",
    "parser",
    "pipeline",
    "scope",
    "server_state",
    "transport",
    "url",
}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotImplementedError


def used_names(code: type, of: str = "self") -> set[str]:
    """Every name that the code of this class takes of that."""
    tree = ast.parse(inspect.getsource(code))
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return {node.attr for node in attributes if ast.unparse(node.value) == of}


def parameters(function: object) -> list[str]:
    assert callable(function)
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_uvicorn_has_each_of_its_private_names_that_we_use() -> None:
    loop = asyncio.new_event_loop()
    config = uvicorn.Config(app, ws="none", lifespan="off", log_config=None)
    theirs = HttpToolsProtocol(config, ServerState(), {}, loop)
    loop.close()
    theirs.on_message_begin()
    assert not {name for name in {*METHODS, *ATTRIBUTES} if not hasattr(theirs, name)}
    assert {name: parameters(getattr(HttpToolsProtocol, name)) for name in METHODS} == METHODS
    # No other is used, or it belongs into the lists above.
    defined = {name for name in vars(GuardedProtocol) if not name.startswith("__")}
    ours = defined | used_names(GuardedProtocol)
    assert {name for name in ours if hasattr(theirs, name)} == {*METHODS, *ATTRIBUTES}

    assert STATUS_LINE[408].startswith(b"HTTP/1.1 408 ")
    assert theirs.cycle is None
    assert (len(theirs.pipeline), len(theirs.connections)) == (0, 0)
    assert theirs.server_state.total_requests == 0
    made = inspect.getsource(RequestResponseCycle.__init__)
    assert "self.response_started = False" in made
    assert "self.response_complete = False" in made
    assert "self.chunked_encoding: bool | None = None" in made
    assert {"scope", "transport"} <= {*inspect.signature(RequestResponseCycle).parameters}
    # A cycle uses no more of its transport than ours has.
    used = used_names(RequestResponseCycle, "self.transport")
    ours = {name for name in vars(OneWrite) if not name.startswith("_")}
    assert used == ours - {"begin", "cycle", "end", "unread_seconds"}
    assert hasattr(Multiprocess, "run")
    assert "self.processes: list[Process] = []" in inspect.getsource(Multiprocess.__init__)
    assert hasattr(Process, "exitcode")
