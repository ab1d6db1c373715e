"""TLS before a PostgreSQL whose build has none."""

import asyncio
import ssl
import struct
from contextlib import closing, suppress
from pathlib import Path

from tests.postgres import Postgres

SSL_REQUEST = struct.pack(">ii", 8, 80877103)
"""What a client that wants TLS sends first (Frontend/Backend Protocol, SSL Session Encryption)."""


class TLSFront:
    """Before a PostgreSQL whose build has no TLS: ends it on a port of localhost. As an async
    context; counts who came with TLS and who without."""

    def __init__(self, postgres: Postgres, certificate: Path) -> None:
        self._socket = str(postgres.socket_folder / ".s.PGSQL.5432")
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificate / "server.crt", certificate / "server.key")
        self.encrypted = self.plain = 0

    async def __aenter__(self) -> "TLSFront":
        self._server = await asyncio.start_server(self._serve, "localhost", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            first = await reader.readexactly(8)
            if first == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(self._context)
                self.encrypted, first = self.encrypted + 1, b""
            else:
                self.plain += 1
            theirs, ours = await asyncio.open_unix_connection(self._socket)
            ours.write(first)
            await asyncio.gather(_pass_on(reader, ours), _pass_on(theirs, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with closing(writer):
        while some := await reader.read(2**16):
            writer.write(some)
            await writer.drain()
