"""Lists that may be long, page by page: a cursor says up to where the last one went."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from authapi.engines.database import Row
from authapi.errors import InvalidRequest
from authapi.managing.manager import Manager
from authapi.managing.validation import Filters
from authapi.store.administration import BEGINNING, After, page_clients, page_keys

MAX_PAGE = 200
USUAL_PAGE = 50
ANY = Filters(None, None, None)
_CURSOR = re.compile(r"(0|[1-9][0-9]{0,14})-([0-9a-f]{16,20})")
_LIMIT = re.compile(r"[1-9][0-9]{0,2}")


class Page(NamedTuple):
    """Some rows, and after which one there are more; None after the last."""

    rows: Sequence[Row]
    more_after: After | None

    @property
    def cursor(self) -> str | None:
        """By which the next page is asked for."""
        return None if self.more_after is None else "{}-{}".format(*self.more_after)


class Window(NamedTuple):
    """Which part of a list is asked for."""

    after: After
    limit: int


def read_window(after: str | None, limit: str | None) -> Window:
    """Raises `InvalidRequest` for what is no cursor of ours, or no size of a page."""
    match = _CURSOR.fullmatch(after) if after is not None else None
    if after is not None and match is None:
        raise InvalidRequest("no cursor", {"after": ["Not a cursor of ours."]})
    size = str(USUAL_PAGE) if limit is None else limit
    if not _LIMIT.fullmatch(size) or int(size) > MAX_PAGE:
        raise InvalidRequest("no limit", {"limit": [f"Not a number from 1 to {MAX_PAGE}."]})
    return Window(After(int(match[1]), match[2]) if match else BEGINNING, int(size))


def _page(rows: Sequence[Row], limit: int) -> Page:
    """One row more than asked for was read, to know whether there are more."""
    if len(rows) <= limit:
        return Page(rows, None)
    last = rows[limit - 1]
    return Page(rows[:limit], After(last["created_at"], last["id"]))


async def clients_in(manager: Manager, window: Window, filters: Filters = ANY) -> Page:
    """The clients that are as asked, the oldest first."""
    asked = (window.after, window.limit + 1, *filters)
    return _page(await page_clients(manager.database, manager.clock(), *asked), window.limit)


async def every_client(manager: Manager, filters: Filters = ANY) -> list[Row]:
    """All that are as asked, the oldest first."""
    rows: list[Row] = []
    after: After | None = BEGINNING
    while after is not None:
        page = await clients_in(manager, Window(after, MAX_PAGE), filters)
        rows += page.rows
        after = page.more_after
    return rows


async def keys_in(manager: Manager, client_id: str, window: Window) -> Page:
    """The keys of a client, the oldest first."""
    rows = await page_keys(manager.database, client_id, window.after, window.limit + 1)
    return _page(rows, window.limit)
