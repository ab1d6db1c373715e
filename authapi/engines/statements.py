"""Constant statements, compiled once: that takes longer than SQLite takes to run them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy.engine.interfaces import Compiled, Dialect
from sqlalchemy.sql import ClauseElement


class Bound(NamedTuple):
    """A constant statement with the values of one call."""

    statement: ClauseElement
    values: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Statement:
    """What a driver is asked: the `sql`, and the names of its arguments in their order."""

    sql: str
    names: tuple[str, ...]
    constants: dict[str, Any]
    is_read: bool

    def arguments(self, values: dict[str, Any]) -> tuple[Any, ...]:
        known = self.constants | values
        return tuple([known[name] for name in self.names])


class Compiler:
    """Compiles for one dialect. Whatever comes as `Bound` is kept, so it must be a constant.

    `place` gives the text of the compiled statement and the order of its arguments.
    """

    def __init__(
        self, dialect: Dialect, place: Callable[[Compiled], tuple[str, tuple[str, ...]]]
    ) -> None:
        self.dialect = dialect
        self._place = place
        self._compile_once = cache(self._compile)

    def compile(self, query: ClauseElement | Bound) -> tuple[Statement, tuple[Any, ...]]:
        """The statement and its arguments."""
        if isinstance(query, Bound):
            statement = self._compile_once(query.statement)
            return statement, statement.arguments(query.values)
        statement = self._compile(query)
        return statement, statement.arguments({})

    def _compile(self, statement: ClauseElement) -> Statement:
        compiled = statement.compile(dialect=self.dialect)
        sql, names = self._place(compiled)
        binds = getattr(compiled, "bind_names", {})  # DDL has none
        return Statement(
            sql,
            names,
            {name: bind.effective_value for bind, name in binds.items() if not bind.required},
            sql.startswith("SELECT"),  # a text may be one, too
        )
