"""Both verifiers, installed, judge alike by what the real service once answered.

Once things were ended there, and once its clock had been ahead, and was set right.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.offline.driving import ACCEPTED, REFUSED, Driver, Process, drive
from tests.offline.feed import Exchange, Feed, serve_feed
from tests.offline.record import CLOCK_FILE, FILE

Recorded = dict[str, Any]


class Replay(Feed):
    """Answers with one step of what was recorded, whatever is asked; or, to who holds nothing, with
    what was answered to that."""

    def __init__(self, step: Recorded) -> None:
        super().__init__(())
        self.step = step

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
            is_whole = not known and "whole" in self.step
            body = dict(self.step["whole" if is_whole else "answer"])
        return Exchange(query, nonce, 200, body, {"X-Request-ID": nonce}, came=0)


@contextmanager
def replayed(
    recorded: Recorded, installed: dict[str, Process]
) -> Iterator[tuple[Replay, list[Driver]]]:
    with ExitStack() as stack:
        feed = Replay(recorded["steps"][0])
        stack.enter_context(serve_feed(feed=feed))
        yield (
            feed,
            [
                stack.enter_context(drive(process, feed.url, patience=0, still=recorded["now"]))
                for process in installed.values()
            ],
        )


def follow(recorded: Recorded, feed: Replay, verifiers: list[Driver]) -> None:
    """Each step is judged as it was there."""
    tokens: dict[str, str] = recorded["tokens"]
    for step in recorded["steps"]:
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
    verdicts = {verdict for step in recorded["steps"] for verdict in step["verdicts"].values()}
    assert verdicts == {ACCEPTED, REFUSED}


def test_each_step_ends_what_it_ended_there(installed: dict[str, Process]) -> None:
    recorded = json.loads(FILE.read_text())
    assert len(recorded["steps"]) >= 6
    with replayed(recorded, installed) as (feed, verifiers):
        follow(recorded, feed, verifiers)


def test_a_clock_that_was_ahead_and_is_set_right_ends_nothing_for_good(
    installed: dict[str, Process],
) -> None:
    recorded = json.loads(CLOCK_FILE.read_text())
    assert [step["verdicts"]["alive"] for step in recorded["steps"]] == [
        *(ACCEPTED, ACCEPTED),
        *(REFUSED, ACCEPTED),
    ]
    with replayed(recorded, installed) as (feed, verifiers):
        follow(recorded, feed, verifiers)
