"""What the runbook says to type at 3 a.m. works, and says when it is over."""

import re
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from authapi.credentials.client_keys import new_client_key
from tests.disks import fill
from tests.pages.operator import STOPS, Operator, create_client, faults
from tests.pages.reading import section, titles_and_sections
from tests.pages.running import call, log_in
from tests.serving import ROOT


def test_each_section_has_what_one_sees_checks_does_and_when_it_is_over() -> None:
    page = (ROOT / "docs" / "runbook.md").read_text()
    titles = [title for title, text in titles_and_sections() if text in page and "**Do**" in text]
    assert len(titles) == 10
    for title in titles:
        parts = re.findall(
            r"^\*\*(You see|Check|Do|It is over when)\*\* ", section(title), re.MULTILINE
        )
        assert parts == ["You see", "Check", "Do", "It is over when"], title


def test_a_lost_database(live: Path) -> None:
    operator = Operator(live, "The database is lost")
    check, act, over = operator.blocks
    key = create_client(live)
    with operator.serving() as served:
        ended = log_in(served, key)
        # As a snapshot of the disk is: `back-up` would give it an identity of its own.
        with (
            closing(sqlite3.connect(live / "auth.db")) as source,
            closing(sqlite3.connect(live / "monday.db")) as copy,
        ):
            source.backup(copy)
        assert call(served, "/logout", ended["access_token"]).status_code == 200
        (live / "auth.db").unlink()
        assert call(served, "/login", client_key=new_client_key().text).status_code == 503
        assert "auth.db\n" not in operator.type(check, may_fail=True)
    stop, *commands, start = act.splitlines()
    assert (stop, start) == (f"{STOPS}stop auth-api", f"{STOPS}start auth-api")
    operator.type("\n".join(commands))
    with operator.serving() as served:
        assert operator.type(over) == "200\n"
        assert call(served, "/me", ended["access_token"]).status_code == 401
        log_in(served, key)


def test_a_database_that_is_another_one(live: Path) -> None:
    operator = Operator(live, "The database failed over, or `database_changed`")
    check, act, over = operator.blocks
    key = create_client(live)
    with operator.serving() as served:
        pair = log_in(served, key)
        operator.type(act)
        assert call(served, "/me", pair["access_token"]).status_code == 401
        said = operator.type(check)
        assert '"event":"database_changed"' in said
        assert " identity: It has been " in said
        assert " for 0 days." in said
        assert not faults(operator.type(over))
        log_in(served, key)


def test_a_full_disk(
    live: Path,
    small_disk: Path,
) -> None:
    operator = Operator(live, "The disk is full", DATABASE_URL=f"sqlite:///{small_disk}/auth.db")
    check, act, over = operator.blocks
    key = create_client(live, **operator.environ)
    with operator.serving() as served:
        pair = log_in(served, key)
        filler = fill(small_disk)
        assert call(served, "/logout", pair["access_token"]).status_code == 503
        assert call(served, "/me", pair["access_token"]).status_code == 200
        assert '"event":"database_unwritable"' in served.console
        assert call(served, "/readyz").status_code == 503
        checked = operator.type(check, may_fail=True)
        assert re.search(r"^warning +disk: 0 MiB", checked, re.MULTILINE)
        assert re.search(r"^fault +writing: .* full", checked, re.MULTILINE)
        filler.unlink()
        vacuum, du = act.splitlines()
        assert operator.type(vacuum) == "journalctl --vacuum-size=200M\n"
        assert operator.type(du.replace(" / ", f" {live} ")).splitlines()
        assert call(served, "/logout", pair["access_token"]).status_code == 200
        disk, reachable = operator.type(over).splitlines()
        # The small disk has less room than the doctor asks for, whatever is on it.
        assert re.match(r"warning +disk: [12] MiB are free.", disk)
        assert '"event":"database_writable"' in reachable


def test_503(live: Path) -> None:
    operator = Operator(live, "503")
    (check,) = operator.blocks
    key = create_client(live)
    with operator.serving() as served:
        (live / "auth.db").rename(live / "aside.db")
        assert call(served, "/login", client_key=key).status_code == 503
        said = operator.type(check, may_fail=True).splitlines()
        assert said[0] == "503"
        assert '"event":"database_unreachable"' in said[1]
        (live / "aside.db").rename(live / "auth.db")
        served.wait_until_ready()
        said = operator.type(check).splitlines()
        assert said[0] == "200"
        events = [line for line in said if '"event"' in line]
        assert '"event":"database_reachable"' in events[-1]


def test_429(live: Path) -> None:
    operator = Operator(live, "429", LOGIN_FAILURES_BY_ADDRESS="3/minute")
    check, act, over = operator.blocks
    key = create_client(live)
    with operator.serving() as served:
        wrong = [call(served, "/login", client_key=new_client_key().text) for _ in range(4)]
        assert wrong[-1].json()["error"] == "too_many_failures"
        said = operator.type(check)
        assert re.search(r'^ +4 "address":"127.0.0.1"$', said, re.MULTILINE)
        assert re.search(r'^ +1 "reason":"too many failed logins"$', said, re.MULTILINE)
        typed = over.replace("ck_...", key)
        assert operator.type(typed.replace("--retry 10", "")) == "429\n"
    assert act == f"{STOPS}restart auth-api\n"
    with operator.serving():
        assert operator.type(typed) == "200\n"


def test_a_reused_refresh_token(live: Path) -> None:
    operator = Operator(live, "`refresh_reused`")
    check, act, over = operator.blocks
    key = create_client(live)
    with operator.serving() as served:
        other, first = log_in(served, key), log_in(served, key)
        spent = first["refresh_token"]
        second = call(served, "/refresh-token", refresh_token=spent).json()
        call(served, "/refresh-token", refresh_token=second["refresh_token"])
        assert call(served, "/refresh-token", refresh_token=spent).status_code == 401
        events = re.findall(r'"event":"(\w+)"', operator.type(check))
        assert events == ["login", "refreshed", "refreshed", "refresh_reused", "refresh_refused"]
        assert call(served, "/me", other["access_token"]).status_code == 200
        operator.type(act)
        assert call(served, "/me", other["access_token"]).status_code == 401
        log_in(served, key)
        assert operator.type(over).count("refresh_reused") == 1


def test_a_wrong_clock(live: Path) -> None:
    operator = Operator(live, "The clock is wrong")
    check, act, over = operator.blocks
    key = create_client(live)
    with closing(sqlite3.connect(live / "auth.db")) as database, database:
        ahead = int(time.time()) + 3600
        database.execute("UPDATE identity SET refresh_purged_until = ?", (ahead,))
    with operator.serving() as served:
        assert re.search(r"^warning +purged:", operator.type(check), re.MULTILINE)
        operator.type(act)
        assert [line.split()[0] for line in operator.type(over).splitlines()] == ["ok", "ok"]
        log_in(served, key)
