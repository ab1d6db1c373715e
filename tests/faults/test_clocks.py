"""The wall clock is set, ahead and back, while it serves or before it starts: no token revives.

Both clocks are the test's, in the real application: what is past on the steady one has passed.
After each thing that is done, whatever was logged out is tried again, with every token of it.
"""

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from app import create_app
from authapi.clocks import SETTLE_SECONDS, Clocks
from authapi.engines.database import Database
from authapi.revocation import purging
from authapi.revocation.entries import MARGIN_SECONDS
from settings import Settings
from tests.conftest import NOW, Clock, Registered
from tests.faults.services import SECRET, register
from tests.forge import claims_of
from tests.serving import serve
from tests.sqlite import opened

ACCESS_SECONDS = 900
SESSION_SECONDS = 3600
KEEP_SECONDS = ACCESS_SECONDS + 10 + MARGIN_SECONDS
"""For so long the copy keeps a row: the leeway is 10."""
NEVER = 60.0
"""So rare a poll comes too late for a test: it sees what happens between two of them."""
OFTEN = 0.02
WAIT_SECONDS = 20


class Watched(Database):
    """Counts how often a worker has begun to ask what is new."""

    polls = 0

    async def fetch_on(self, *arguments: Any) -> Any:
        self.polls += 1
        return await super().fetch_on(*arguments)


@dataclass
class Session:
    access: list[str]
    refresh: list[str]


@dataclass
class Stage:
    """The service with one worker. `polls` tells whether it does while a test goes on."""

    settings: Settings
    client_key: str
    polls: bool
    wall: Clock = field(default_factory=Clock)
    steady: Clock = field(default_factory=Clock)
    dead: list[Session] = field(default_factory=list)
    _stack: ExitStack = field(default_factory=ExitStack)

    @contextmanager
    def running(self) -> Iterator[None]:
        with self._stack:
            self.restart()
            yield

    def restart(self) -> None:
        self._stack.close()
        self.database = Watched(self.settings.database_url)
        poll_seconds = OFTEN if self.polls else NEVER
        settings = replace(self.settings, revocation_poll_seconds=poll_seconds)
        app = create_app(settings, self.wall, lambda url: self.database, self.steady)
        self.api = self._stack.enter_context(TestClient(app))
        self.wait_for_poll()
        self.assert_dead()

    def step(self, seconds: float) -> None:
        """Somebody sets the clock."""
        self.wall.advance(seconds)
        self.assert_dead()
        if self.polls:
            self.wait_for_poll()
            self.assert_dead()

    def pass_time(self, seconds: float) -> None:
        """On both clocks."""
        self.wall.advance(seconds)
        self.steady.advance(seconds)
        self.assert_dead()
        if self.polls:
            self.wait_for_poll()
            self.assert_dead()

    def wait_for_poll(self) -> None:
        """Until one that began after now is over, for which another has to begin."""
        target, give_up = self.database.polls + 2, time.monotonic() + WAIT_SECONDS
        while self.polls and self.database.polls < target:
            assert time.monotonic() < give_up
            time.sleep(OFTEN / 4)

    def log_in(self) -> Session:
        answer = self.api.post("/login", json={"client_key": self.client_key})
        assert answer.status_code == 200, answer.text
        return Session([answer.json()["access_token"]], [answer.json()["refresh_token"]])

    def refresh(self, session: Session) -> int:
        answer = self.api.post("/refresh-token", json={"refresh_token": session.refresh[-1]})
        if answer.status_code == 200:
            session.access.append(answer.json()["access_token"])
            session.refresh.append(answer.json()["refresh_token"])
        return answer.status_code

    def use(self, token: str) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        return self.api.get("/secure-data", headers=headers).status_code

    def log_out(self, session: Session) -> None:
        """By the oldest of its tokens, which tells nothing of what was issued since."""
        headers = {"Authorization": f"Bearer {session.access[0]}"}
        assert self.api.post("/logout", headers=headers).status_code == 200
        self.dead.append(session)
        self.assert_dead([session])

    def assert_dead(self, sessions: Sequence[Session] | None = None) -> None:
        for session in self.dead if sessions is None else sessions:
            for token in session.access:
                claims = claims_of(token)
                if claims["exp"] < self.wall.now - MARGIN_SECONDS:
                    continue  # which no clock near this one lets in
                assert self.use(token) == 401, (claims["iat"] - NOW, self.wall.now - NOW)
            # The newest, for a spent one would end the session once more.
            body = {"refresh_token": session.refresh[-1]}
            assert self.api.post("/refresh-token", json=body).status_code == 401


@pytest.fixture(params=[True, False], ids=["polled", "between-polls"])
def stage(
    request: pytest.FixtureRequest, settings: Settings, registered: Registered
) -> Iterator[Stage]:
    settings = replace(
        settings, access_token_seconds=ACCESS_SECONDS, refresh_token_seconds=SESSION_SECONDS
    )
    stage = Stage(settings, registered.key, request.param)
    with stage.running():
        yield stage


@pytest.fixture
def polled(settings: Settings, registered: Registered) -> Iterator[Stage]:
    settings = replace(settings, refresh_token_seconds=SESSION_SECONDS)
    stage = Stage(settings, registered.key, polls=True)
    with stage.running():
        yield stage


@pytest.mark.parametrize("is_restarted", [False, True], ids=["runs-on", "restarted"])
@pytest.mark.parametrize(
    "steps",
    [(1200, -1200), (-3600, 3600), (-600, 1800, -1200)],
    ids=str,
)
def test_what_was_logged_out_before_during_or_after_a_step_stays_dead(
    stage: Stage, steps: tuple[int, ...], is_restarted: bool
) -> None:
    """Sessions of each time are ended at each later one, and their tokens come of age at last."""
    alive = [stage.log_in() for _ in range(2 * len(steps) + 1)]
    stage.log_out(alive.pop())
    for step in steps:
        stage.step(step)
        if is_restarted:
            stage.restart()
        for session in alive:
            stage.refresh(session)
        alive += [stage.log_in(), stage.log_in()]
        stage.log_out(alive.pop())
        stage.log_out(alive.pop(0))
    if is_restarted:
        stage.restart()
    for session in alive[:-1]:
        stage.log_out(session)
    latest = max(claims_of(token)["exp"] for one in stage.dead for token in one.access)
    while stage.wall.now < latest + 30:
        stage.pass_time(ACCESS_SECONDS - 200)
        if is_restarted:
            stage.restart()


def test_once_the_clock_is_right_what_lives_is_accepted(
    polled: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """And each step is told in a line, which says how far the clock was set."""
    session = polled.log_in()
    for start in (0, 3600, -3600):  # the time at which it starts
        polled.wall.advance(start)
        polled.restart()
        polled.step(-start)
        assert polled.use(session.access[0]) == 200
        for step in (1200, -2400, 1200):
            caplog.clear()
            polled.step(step)
            told = [record for record in caplog.records if record.message == "clock_stepped"]
            assert [record.__dict__["details"] for record in told] == [{"seconds": step}]
        assert polled.use(session.access[0]) == 200
        assert polled.refresh(session) == 200
        session = polled.log_in()


def test_a_clock_that_is_kept_right_is_no_step(
    polled: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """As by NTP, or through a leap second."""
    caplog.set_level(logging.INFO)
    for drift in (1, -2, 1):
        polled.step(drift)
    assert "clock_stepped" not in caplog.text


def test_what_the_copy_has_forgotten_stays_dead_when_the_clock_goes_back(stage: Stage) -> None:
    """A poll has to come in between: the copy forgets when it has read."""
    session = stage.log_in()
    stage.log_out(session)
    stage.polls, polls = True, stage.polls
    stage.restart()
    stage.pass_time(KEEP_SECONDS + 1)
    stage.polls = polls
    stage.step(-KEEP_SECONDS)
    stage.restart()


def expired_rows(settings: Settings) -> int:
    file = settings.database_url.removeprefix("sqlite:///")
    with opened(file) as database:
        ((count,),) = database.execute("SELECT count(*) FROM revoked_jtis")
        return int(count)


def purge(settings: Settings, action: Callable[[Database], Any]) -> None:
    async def run() -> None:
        async with Database(settings.database_url) as database:
            await action(database)

    asyncio.run(run())


def test_while_the_clock_was_set_of_late_nothing_is_purged(polled: Stage) -> None:
    """Two hours ahead for a minute, with sessions of one: every node still needs the rows."""
    clocks = Clocks(polled.wall, polled.steady)
    sessions = [polled.log_in() for _ in range(3)]
    for session in sessions[:2]:
        polled.log_out(session)

    def purge_once() -> None:
        purge(polled.settings, lambda each: purging.purge_when_settled(each, clocks, 10))

    purge_once()  # at a start
    polled.pass_time(SETTLE_SECONDS)
    polled.wall.advance(7200)
    purge_once()  # and the clocks have not been compared since
    assert clocks.step() == 7200
    for _ in range(3):
        polled.pass_time(30)
        purge_once()
    clocks = Clocks(polled.wall, polled.steady)  # of a start while it is wrong
    purge_once()
    polled.wall.advance(-7200)
    assert clocks.step() == -7200
    purge_once()
    polled.restart()
    assert expired_rows(polled.settings) == 2
    polled.pass_time(SESSION_SECONDS)
    purge_once()
    assert expired_rows(polled.settings) == 1  # since the greatest number stays


def test_what_a_purge_by_a_wrong_clock_deleted_stays_dead(stage: Stage) -> None:
    """By the command, which has no other clock to ask. What begins later is let in."""
    sessions = [stage.log_in() for _ in range(4)]
    assert stage.refresh(sessions[0]) == 200
    for session in sessions[:3]:
        stage.log_out(session)
    purge(stage.settings, lambda each: purging.purge(each, stage.wall.now + 7200, 10))
    assert expired_rows(stage.settings) == 1
    stage.wait_for_poll()
    stage.assert_dead()
    stage.restart()
    stage.pass_time(3 * MARGIN_SECONDS)  # what is issued later than by now ends later
    stage.restart()
    new = stage.log_in()
    assert stage.use(new.access[0]) == 200
    stage.log_out(new)


LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.mark.skipif(not LIBRARIES, reason="libfaketime is not installed")
def test_a_process_whose_clock_is_set_ahead_and_back_lets_nothing_in_again(tmp_path: Path) -> None:
    """The system's own clocks, of which libfaketime sets the one and leaves the other."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    url = f"sqlite:///{tmp_path / 'auth.db'}"
    (client,) = register(url, "stepped")
    environ = SECRET | {
        "DATABASE_URL": url,
        "LD_PRELOAD": os.fspath(LIBRARIES[0]),
        "FAKETIME_TIMESTAMP_FILE": os.fspath(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }

    def wait_for_steps(count: int) -> list[str]:
        give_up = time.monotonic() + WAIT_SECONDS
        while len(steps := re.findall(r'"clock_stepped","seconds":(-?\d+)', served.console)) < (
            count
        ):
            assert time.monotonic() < give_up, served.console
            time.sleep(0.02)
        return steps

    with serve(tmp_path, **environ) as served, httpx.Client(base_url=served.url) as api:
        pairs = [api.post("/login", json={"client_key": client.key}).json() for _ in range(4)]
        bearers = [{"Authorization": f"Bearer {pair['access_token']}"} for pair in pairs]

        def log_out(bearer: dict[str, str]) -> None:
            """Again where the disk was too slow for an answer: this is of clocks."""
            give_up = time.monotonic() + WAIT_SECONDS
            while (answer := api.post("/logout", headers=bearer)).status_code == 503:
                assert time.monotonic() < give_up, served.console
            assert answer.status_code in (200, 401), served.console  # 401: it was done after all
            assert_dead(bearer)

        def assert_dead(*dead: dict[str, str]) -> None:
            for bearer in dead:
                assert api.get("/secure-data", headers=bearer).status_code == 401

        log_out(bearers[0])
        for count, seconds in enumerate(("+1200", "-3600", "+0"), start=1):
            offset.write_text(seconds)
            assert_dead(*bearers[:count])
            wait_for_steps(count)
            log_out(bearers[count] if count < 3 else bearers[0])
        assert [int(step) for step in wait_for_steps(3)] == [1200, -4800, 3600]
        assert_dead(*bearers[:3])
        assert api.get("/secure-data", headers=bearers[3]).status_code == 200
