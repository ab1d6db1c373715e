"""`make clients`: try every client against the service, and print what each has done."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.clients.judging import fault_of
from tests.clients.running import ALL, CLIENTS, HERE, Client, Issuer, Run, serve_issuer
from tests.npm import install

PYTHON = str(HERE / ".venv" / "bin" / "python")
HEADER = ("client", "version", "token", "protected call", *ALL[2:], "private_key_jwt")
GO_PACKAGE = "golang-golang-x-oauth2-dev"
NONE = "–"  # noqa: RUF001  # the client has no such step


def main() -> None:
    install(HERE)
    print(_line(HEADER), _line(("---",) * len(HEADER)), sep="\n")
    with tempfile.TemporaryDirectory() as folder, serve_issuer(Path(folder)) as issuer:
        for client in CLIENTS:
            print(_line(_row(client, issuer)), flush=True)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _row(client: Client, issuer: Issuer) -> tuple[str, ...]:
    if client.script.endswith(".go") and not _go_version():
        return client.name, "not installed", *(NONE,) * len(HEADER[2:])
    version, faults = _try(client, "secret", issuer)
    cells = [faults.get(step, NONE) or "yes" for step in ALL]
    if "validate" in faults:
        cells[0] += f", RFC 9068: {faults['validate'] or 'yes'}"
    signed = NONE
    if client.alg:
        _, faults = _try(client, client.alg, issuer)
        wrong = [f"{step} {fault}" for step, fault in faults.items() if fault]
        signed = "; ".join(wrong) or f"yes, {client.alg}"
    return client.name, version, *cells, signed


def _try(client: Client, credential: str, issuer: Issuer) -> tuple[str, dict[str, str]]:
    """Its version, and the fault of each step."""
    run = Run(client, credential, issuer, PYTHON)
    try:
        told = run.told()
    except (AssertionError, subprocess.TimeoutExpired) as fault:
        last = (str(fault).strip().splitlines() or [""])[-1]
        return NONE, dict.fromkeys(client.steps, f"failed: {last}")
    faults = {step: fault_of(step, told, issuer.client_id, run.given) for step in client.steps}
    return str(told.get("version") or _go_version()), faults


def _go_version() -> str:
    """Of the library that Debian has; empty where it or Go is not installed."""
    if not (shutil.which("go") and shutil.which("dpkg-query")):
        return ""
    ask = ["dpkg-query", "--show", "--showformat=${Version}", GO_PACKAGE]
    found = subprocess.run(ask, capture_output=True, text=True, timeout=20, check=False)
    return found.stdout.partition("-")[0]


if __name__ == "__main__":
    main()
