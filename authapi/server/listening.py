"""Opens the socket that the service listens on, and says in a line why it cannot."""

import errno
import logging
import os
import socket
import stat
from contextlib import suppress

from authapi.addresses import UNIX_PREFIX, url_of

logger = logging.getLogger("uvicorn.error")


class CannotListen(Exception):
    """The message names the settings and a remedy."""


def listen(host: str, port: int) -> socket.socket:
    """On an address and a port, or on `unix:/path`, where the owner and the group may connect.

    Raises `CannotListen`.
    """
    if host.startswith(UNIX_PREFIX):
        return _listen_at(host.removeprefix(UNIX_PREFIX))
    try:
        listener = _bind(host, port)
    except socket.gaierror:
        raise CannotListen(f"HOST={host} has no address here: set HOST to one of ours.") from None
    except OSError as fault:
        raise CannotListen(explain_fault(fault, host, port)) from None
    url = url_of(host, port_of(listener))
    logger.info("Uvicorn running on %s (Press CTRL+C to quit)", url)
    return listener


def port_of(listener: socket.socket) -> int:
    """0 of a Unix socket."""
    return 0 if listener.family == socket.AF_UNIX else int(listener.getsockname()[1])


def _bind(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.set_inheritable(True)
    except OSError:
        listener.close()
        raise
    return listener


def explain_fault(fault: OSError, host: str, port: int, prefix: str = "") -> str:
    """A line for the operator. The settings begin with the prefix."""
    at, on = f"{prefix}PORT={port}", f"{prefix}HOST={host}"
    match fault.errno:
        case errno.EADDRINUSE:
            return f"{at} is taken on {on}: stop what has it, or set another {prefix}PORT."
        case errno.EADDRNOTAVAIL:
            return f"{on} is no address of this machine: set {prefix}HOST to one, or to 0.0.0.0."
        case errno.EACCES:
            return f"{at} is for root alone: set a {prefix}PORT of 1024 or more."
    return f"{on} and {at} cannot be had: {os.strerror(fault.errno or 0)}."


def _listen_at(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    try:
        _remove_left_over(path)
        before = os.umask(0o117)  # the owner and the group; a proxy is a member of the group
        try:
            listener.bind(path)
        finally:
            os.umask(before)
    except OSError as fault:
        listener.close()
        reason = "is taken" if fault.errno == errno.EADDRINUSE else os.strerror(fault.errno or 0)
        raise CannotListen(
            f"HOST={UNIX_PREFIX}{path}: {reason}. Its folder must be there and be writable, and no "
            "other server may listen on it."
        ) from None
    listener.set_inheritable(True)
    logger.info("Uvicorn running on unix socket %s (Press CTRL+C to quit)", path)
    return listener


def _remove_left_over(path: str) -> None:
    """Of a server that was killed. Where one still listens, or another file is, it stays."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
