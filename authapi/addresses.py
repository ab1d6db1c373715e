"""Network addresses as they come in: of who connects, of proxies, and of where we listen."""

from ipaddress import IPv6Address, ip_address, ip_network

UNIX_PEER = "unix"
"""In place of the address of who connects by a Unix socket, where there is none."""
UNIX_PREFIX = "unix:"


def plain(address: str) -> str:
    """An IPv4 address that a socket for IPv6 shows as `::ffff:192.0.2.1` is the same address."""
    if not address.startswith("::ffff:"):
        return address
    try:
        mapped = IPv6Address(address).ipv4_mapped
    except ValueError:
        return address
    return str(mapped) if mapped else address


def read_proxies(text: str) -> str:
    """The addresses and networks of proxies, comma-separated. Raises `ValueError`, which says what
    to write instead and repeats nothing."""
    proxies = [part.strip() for part in text.split(",") if part.strip()]
    if "*" in proxies:
        # The leftmost address of `X-Forwarded-For` is whatever the caller wrote there.
        raise ValueError("`*` would believe any caller: name the addresses of your proxies.")
    return ",".join(_read_proxy(proxy) for proxy in proxies)


def _read_proxy(proxy: str) -> str:
    if proxy == UNIX_PEER:
        return proxy
    try:
        return str(ip_network(proxy)) if "/" in proxy else plain(str(ip_address(proxy)))
    except ValueError:
        raise ValueError(
            "Takes addresses and networks alone, as 127.0.0.1 or 10.0.0.0/8: no names, no ports, "
            "no bits beyond a network's prefix."
        ) from None


def url_of(host: str, port: int) -> str:
    """Of a service that listens there; `host` itself where that is a Unix socket."""
    if host.startswith(UNIX_PREFIX):
        return host
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_host(host: str) -> None:
    """Raises `ValueError` if nobody could listen there, and says what to write instead."""
    if host.startswith(UNIX_PREFIX):
        if not host.removeprefix(UNIX_PREFIX).startswith("/"):
            raise ValueError("A socket has a whole path, as unix:/run/auth-api.sock.")
        return
    try:
        ip_address(host)
    except ValueError:
        if host.startswith("[") or "/" in host or ":" in host:
            raise ValueError(
                "Takes an address or a name alone, as 127.0.0.1, ::1 or localhost, or "
                "unix:/run/auth-api.sock: no brackets, no scheme, and the port is PORT's."
            ) from None
