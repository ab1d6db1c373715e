"""Both verifiers, installed, judge alike by what the real service once answered."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.offline.driving import Driver, Process, drive
from tests.offline.feed import Exchange, Feed, serve_feed
from tests.offline.record import FILE

RECORDED: dict[str, Any] = json.loads(FILE.read_text())


class Replay(Feed):
    """Answers with one step of what was recorded, whatever is asked."""

    step: dict[str, Any] = RECORDED["steps"][0]

    def jwks(self) -> dict[str, Any]:
        keys: dict[str, Any] = self.step["jwks"]
        return keys

    def go_to(self, step: dict[str, Any]) -> None:
        self.step = step
        self.news()

    def poll(self, query: dict[str, str], nonce: str) -> Exchange:
        known = query.get("after")
        with self._news:
            self._news.wait_for(
                lambda: self.step["answer"]["cursor"] != known, float(query.get("wait", 0))
            )
            body = dict(self.step["answer"])
        return Exchange(query, nonce, 200, body, {"X-Request-ID": nonce}, came=0)


@pytest.fixture
def replayed(installed: dict[str, Process]) -> Iterator[tuple[Replay, list[Driver]]]:
    with ExitStack() as stack:
        feed = Replay(())
        stack.enter_context(serve_feed(feed=feed))
        yield (
            feed,
            [
                stack.enter_context(drive(process, feed.url, patience=0, still=RECORDED["now"]))
                for process in installed.values()
            ],
        )


def test_each_step_ends_what_it_ended_there(replayed: tuple[Replay, list[Driver]]) -> None:
    feed, verifiers = replayed
    tokens: dict[str, str] = RECORDED["tokens"]
    for step in RECORDED["steps"]:
        feed.go_to(step)
        names = [*step["verdicts"]]
        wanted = [*step["verdicts"].values()]
        shown = [tokens[name] for name in names]
        for verifier in verifiers:
            verifier.until(
                lambda of=verifier, all_=shown, all_wanted=wanted: (  # type: ignore[misc]
                    of.verdicts("judge", *all_) == all_wanted
                )
            )
    ended = {verdict for step in RECORDED["steps"] for verdict in step["verdicts"].values()}
    assert ended == {"accepted", "refused"}
    assert len(RECORDED["steps"]) >= 6
