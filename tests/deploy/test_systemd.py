"""The unit is as closed as it says, and the page's commands set it up on a real systemd."""

import configparser
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from authapi.server.main import STOP_SECONDS
from tests.deploy.machine import PACKAGES, make, type_on, why_not
from tests.pages.reading import blocks
from tests.serving import ROOT, copy_code

UNIT = ROOT / "deploy" / "systemd" / "auth-api.service"
ANALYZE = shutil.which("systemd-analyze")
EXPOSURE = 30
"""In tenths: what `systemd-analyze security` may find at most."""
SERVED = r"""
shown() { systemctl show auth-api --property "$1" --value; }
ready() { curl -sf --retry 10 --retry-connrefused http://127.0.0.1:8000/readyz; echo; }
echo
key=$(grep -o 'ck_[^ ]*' /root/said.txt | head -n 1)
echo "login: $(curl -s -d client_key=$key http://127.0.0.1:8000/login)"

pid=$(shown MainPID)
grep -E '^(NoNewPrivs|Seccomp|CapEff|CapBnd):' /proc/$pid/status
echo "user: $(stat -c %U /proc/$pid)"
inside() { nsenter --target $pid --mount "$@"; }
for place in /etc /usr /srv/auth-api /srv/auth-api/app.py /var/lib/auth-api/.env; do
    if inside touch $place 2> /dev/null; then echo "it may write $place"; fi
done
if (cd /var/lib/auth-api; inside mv $PWD/.env $PWD/moved) 2> /dev/null; then
    echo "it may move .env"
fi
inside touch /var/lib/auth-api/new /tmp/new
if test -e /tmp/new; then echo "its /tmp is that of all"; fi
(cd /var/lib/auth-api; stat -c 'file: %a %U %n' .env auth.db)

mkdir /etc/systemd/system/auth-api.service.d
printf '[Service]\nRestartSec=100ms\n' > /etc/systemd/system/auth-api.service.d/soon.conf
systemctl daemon-reload
systemctl kill --signal KILL auth-api
until [ "$(shown MainPID)" != $pid ] && [ "$(shown NRestarts)" = 1 ]; do sleep 0.1; done
ready
systemctl stop auth-api
echo "stopped: $(shown ActiveState) $(shown Result)"
echo "enabled: $(systemctl is-enabled auth-api)"

printf '%s\n' HOST=unix:/run/auth-api/api.sock TRUSTED_PROXIES=unix \
    WORKERS=2 METRICS_PORT=9464 >> /var/lib/auth-api/.env
useradd --system --user-group --groups auth-api nginx
useradd --system --user-group stranger
systemctl start auth-api
until test -S /run/auth-api/api.sock; do sleep 0.1; done
by_socket() {
    local way="--retry 10 --retry-connrefused --unix-socket /run/auth-api/api.sock"
    sudo -u "$1" curl -sf $way http://api/healthz
}
echo "nginx: $(by_socket nginx)"
if by_socket stranger 2> /dev/null; then echo "a stranger may connect"; fi
until curl -s http://127.0.0.1:9464/metrics | grep '^auth_workers 2'; do sleep 0.1; done
systemctl stop auth-api
echo "both stopped: $(shown ActiveState) $(shown Result)"

mv /var/lib/auth-api/.env /root
if systemctl start auth-api 2> /dev/null; then echo "it starts without a secret"; fi
echo "logins: $(journalctl -u auth-api -o cat | grep -c '"event":"login"')"
"""
"""What is true then. Whatever is not is said with `may`, or ends it."""


@pytest.fixture(scope="module")
def unit() -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=False)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser["Service"]


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not installed")
def test_the_unit_is_closed() -> None:
    assert ANALYZE is not None
    checked = subprocess.run(
        [ANALYZE, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE}", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "Unknown" in checked.stderr or "unrecognized option" in checked.stderr:
        pytest.skip("this systemd judges no unit offline")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_unit_lets_requests_in_flight_finish(unit: configparser.SectionProxy) -> None:
    assert int(unit["TimeoutStopSec"]) > STOP_SECONDS
    assert unit["KillMode"] == "mixed"


def test_its_settings_are_out_of_its_reach(unit: configparser.SectionProxy) -> None:
    folder = unit["WorkingDirectory"]
    assert folder == f"/var/lib/{unit['StateDirectory']}"
    assert unit["ReadOnlyPaths"] == unit["EnvironmentFile"] == f"{folder}/.env"
    code = Path(unit["ExecStart"].split()[1]).parent
    assert not Path(folder).is_relative_to(code)
    assert "ReadWritePaths" not in unit


@pytest.fixture
def room() -> Iterator[Path]:
    """Not in memory, since a mount of the test's is no place for the files of a machine."""
    with TemporaryDirectory(prefix="machine-") as folder:
        yield Path(folder)


@pytest.mark.skipif(bool(why_not()), reason=why_not())
def test_the_ten_commands_set_it_up_on_a_real_systemd(room: Path) -> None:
    """All but the download of the packages, which are lent to it."""
    (script,) = blocks("One machine, with systemd", "sh")
    commands = script.splitlines()
    assert len(commands) == 10
    packages = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages/lent.pth"
    lend = f"echo {PACKAGES} > /srv/auth-api/.venv/{packages}"
    (install,) = [line for line in commands if "/pip install " in line]
    commands[commands.index(install)] = lend
    typed = "\n".join(commands).replace("-m venv", "-m venv --without-pip")
    root = room / "root"
    make(root)
    copy_code(root / "srv/auth-api")
    shutil.copytree(ROOT / "deploy", root / "srv/auth-api/deploy")
    for folder in (room, root):
        folder.chmod(0o755)
    said = type_on(root, typed + SERVED).splitlines()
    for line in (
        *("NoNewPrivs:\t1", "Seccomp:\t2", f"CapEff:\t{16 * '0'}", f"CapBnd:\t{16 * '0'}"),
        *("user: auth-api", "file: 600 auth-api .env", "file: 600 auth-api auth.db"),
        *(
            "stopped: inactive success",
            "enabled: enabled",
            "auth_workers 2.0",
            "both stopped: inactive success",
            'nginx: {"status":"ok"}',
            "logins: 1",
        ),
    ):
        assert line in said, f"{line}, of {said}"
    assert not [line for line in said if re.search("^(it|its|a stranger) (may|starts|/tmp)", line)]
    assert [line for line in said if line.startswith('login: {"access_token":')]
    assert said.count('{"status":"ok"}') == 2
    assert [path.name for path in room.iterdir()] == ["root"]
