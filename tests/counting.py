"""A database that remembers what requests have asked it."""

from typing import Any

from sqlalchemy.sql import ClauseElement

from authapi.engines.database import Database


class CountingDatabase(Database):
    """Keeps what it was asked by a request; the background asks through `fetch_all`."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.asked: list[object] = []

    async def fetch_one(self, query: ClauseElement | str, values: Any = None) -> Any:
        self.asked.append(query)
        return await super().fetch_one(query, values)

    async def fetch_val(
        self, query: ClauseElement | str, values: Any = None, column: Any = 0
    ) -> Any:
        self.asked.append(query)
        return await super().fetch_val(query, values, column)
