"""Between a node and PostgreSQL: a connection that falls silent, or leads elsewhere."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Condition, Thread

from tests.postgres import Postgres


class Proxy:
    """Between a node and PostgreSQL; `cut` makes it as silent as a network that is parted."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.folder = folder
        self._target = _socket_of(postgres)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        folder.chmod(0o755)  # a standby, which may run as another user, comes this way too
        (folder / ".s.PGSQL.5432").chmod(0o666)
        self._listener.listen(100)
        self._sockets: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._may_pass = Condition()
        self._is_open = True
        self._is_over = False
        self._start(self._accept)

    def cut(self) -> None:
        """When it returns, nothing passes any more in either direction."""
        with self._may_pass:
            self._is_open = False

    def mend(self) -> None:
        with self._may_pass:
            self._is_open = True
            self._may_pass.notify_all()

    def lead_to(self, postgres: Postgres) -> None:
        """From now on, to this one; what led to the other is at an end, as when a name moves."""
        self._target = _socket_of(postgres)
        for each in self._sockets:
            _shut(each)

    def close(self) -> None:
        with self._may_pass:
            self._is_over = True
            self._may_pass.notify_all()
        for each in [self._listener, *self._sockets]:
            _shut(each)
        for thread in self._threads:
            thread.join(timeout=10)
        for each in [self._listener, *self._sockets]:
            each.close()

    def _start(self, target: Callable[..., None], *arguments: socket.socket) -> None:
        thread = Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._is_over:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.socket(socket.AF_UNIX)
            self._sockets += [near, far]
            try:
                far.connect(self._target)
            except OSError:
                _shut(near)
                continue
            self._start(self._pump, near, far)
            self._start(self._pump, far, near)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                with self._may_pass:
                    self._may_pass.wait_for(lambda: self._is_open or self._is_over)
                    sink.sendall(data)
        except OSError:
            pass
        _shut(sink)


def _socket_of(postgres: Postgres) -> str:
    return str(Path(str(postgres.socket_folder)) / ".s.PGSQL.5432")


def _shut(each: socket.socket) -> None:
    try:
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was first


@contextmanager
def proxied(postgres: Postgres) -> Iterator[Proxy]:
    # A path of a socket is at most some hundred characters long.
    with TemporaryDirectory(prefix="proxy-") as folder:
        proxy = Proxy(Path(folder), postgres)
        try:
            yield proxy
        finally:
            proxy.close()
