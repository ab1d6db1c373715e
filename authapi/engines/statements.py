"""Constant statements, compiled once: that takes longer than SQLite takes to run them. And what
each engine has its own words for."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine.interfaces import Compiled, Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.functions import FunctionElement


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


Placed = tuple[str, tuple[str, ...]]
"""The text of a compiled statement, and the names of its arguments in their order."""


def in_a_row(compiled: Compiled) -> Placed:
    """SQLite's arguments are question marks in a row."""
    return compiled.string, tuple(getattr(compiled, "positiontup", None) or ())  # DDL has none


def numbered(compiled: Compiled) -> Placed:
    """PostgreSQL's arguments have numbers."""
    names = tuple(sorted({*getattr(compiled, "bind_names", {}).values()}))  # DDL has none
    places = {name: f"${place}" for place, name in enumerate(names, start=1)}
    return (compiled.string % places if places else compiled.string), names


class Compiler:
    """Compiles for one dialect, for all databases that a process opens.

    Whatever comes as `Bound` is kept, so it must be a constant.
    """

    def __init__(self, dialect: Dialect, place: Callable[[Compiled], Placed]) -> None:
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


class NextCommit(FunctionElement[int]):
    """The number of a row that ends access tokens: it grows with each commit, and never goes back.

    Timestamps and sequences do not order rows by their commit: a row with an earlier one may become
    visible after a row with a later one has been read. SQLite has one writer at a time, so the next
    number is one more than the greatest, whose row is never purged. PostgreSQL numbers its
    transactions, and store/following.py reads what their snapshots say.
    """

    inherit_cache = True
    type = sa.BigInteger()


# The condition is what lets SQLite look the greatest up in the index, which has no empty ones.
AFTER_THE_LAST = (
    "(SELECT coalesce(max(commit_order), 0) + 1 FROM revoked_jtis WHERE commit_order IS NOT NULL)"
)


@compiles(NextCommit, "sqlite")
def _(element: NextCommit, compiler: Any, **options: Any) -> str:
    return AFTER_THE_LAST


@compiles(NextCommit, "postgresql")
def _(element: NextCommit, compiler: Any, **options: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"
