"""Proxies as Debian packages them, and an API behind one: real processes on ports of 127.0.0.1."""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx

from tests.postgres import Postgres, database_of
from tests.serving import end, free_port

PLACES = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
NGINX = shutil.which("nginx", path=PLACES)
CADDY = shutil.which("caddy", path=PLACES)
PGBOUNCER = shutil.which("pgbouncer", path=PLACES)
START_SECONDS = 20
NGINX_FRAME = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    {inside}
}}
"""
PGBOUNCER_FILE = """
[databases]
{name} = host={host} dbname={name} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
ignore_startup_parameters = extra_float_digits,lock_timeout,synchronous_commit
"""
SERVER = """
server {{
    listen 127.0.0.1:{port};
    {locations}
}}
"""


@contextmanager
def nginx(folder: Path, locations: str) -> Iterator[str]:
    """Serves the locations. Yields its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with nginx_inside(folder, SERVER.format(port=port, locations=locations), url):
        yield url


@contextmanager
def nginx_inside(folder: Path, inside: str, url: str) -> Iterator[int]:
    """With this inside of `http`, which answers at the URL. Yields the id of its first process."""
    assert NGINX is not None
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(NGINX_FRAME.format(folder=folder, user=user, inside=inside))
    with running([NGINX, "-p", str(folder), "-c", str(file)], folder, lambda: answers(url)) as pid:
        yield pid


@contextmanager
def caddy(folder: Path, site: Callable[[str], str]) -> Iterator[str]:
    """Serves the site that is written for an address. Yields its URL."""
    assert CADDY is not None
    port = free_port()
    file = folder / "Caddyfile"
    url = f"http://127.0.0.1:{port}"
    text = site(url)
    file.write_text(f"{{\n    admin off\n}}\n{text}")
    command = [CADDY, "run", "--config", str(file), "--adapter", "caddyfile"]
    with running(command, folder, lambda: answers(url)):
        yield url


@contextmanager
def pgbouncer(folder: Path, postgres: Postgres, url: str) -> Iterator[str]:
    """With the settings that everybody finds. Yields the database's URL by way of it."""
    assert PGBOUNCER is not None
    port, file, name = free_port(), folder / "pgbouncer.ini", database_of(url)
    file.write_text(PGBOUNCER_FILE.format(name=name, host=postgres.socket_folder, port=port))
    # As root it does not run.
    user = [] if postgres.system_user is None else ["-u", postgres.system_user]
    with running([PGBOUNCER, "-q", *user, str(file)], folder, lambda: listens(port)):
        yield f"postgresql://postgres@127.0.0.1:{port}/{name}"


@contextmanager
def running(command: list[str], folder: Path, is_up: Callable[[], bool]) -> Iterator[int]:
    """Until it is up. Ends it at the end; what it says is in a file. Yields its id."""
    homes = {name: str(folder) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
    said = folder / "proxy.txt"
    with said.open("wb") as console:
        process = subprocess.Popen(
            command, env=os.environ | homes, stdout=console, stderr=subprocess.STDOUT
        )
        try:
            give_up = time.monotonic() + START_SECONDS
            while not is_up():
                assert process.poll() is None, said.read_text()
                assert time.monotonic() < give_up, said.read_text()
                time.sleep(0.05)
            yield process.pid
        finally:
            end(process, seconds=10)


def answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=5, verify=False)
    except httpx.TransportError:
        return False
    return True


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def echoing() -> Iterator[str]:
    """An API that answers with what came to it. Yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def echo(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            names = {name.lower() for name in self.headers}
            headers = {name: self.headers.get_all(name) for name in names}
            came = {"method": self.command, "path": self.path, "body": body, "headers": headers}
            content = json.dumps(came).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_DELETE = echo  # noqa: N815  # what it is called by

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join(timeout=20)
