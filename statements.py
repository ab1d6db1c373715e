"""Constant statements, compiled once: that takes longer than SQLite takes to run them."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine.interfaces import Compiled, Dialect
from sqlalchemy.sql import ClauseElement


@dataclass(frozen=True, slots=True)
class Bound:
    """A constant statement with the values of one call."""

    statement: ClauseElement
    values: dict[str, Any]


class Compiler:
    """Compiles for one dialect. Whatever comes as `Bound` is kept, so it must be a constant."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._compiled: dict[ClauseElement, Compiled] = {}

    def compile(self, query: ClauseElement | Bound) -> tuple[Compiled, dict[str, Any]]:
        """The compiled statement and its parameters by name."""
        if not isinstance(query, Bound):
            compiled, values = query.compile(dialect=self.dialect), {}
        else:
            compiled, values = self._compile_once(query.statement), query.values
        return compiled, dict(compiled.construct_params(values) or {})  # DDL has none

    def _compile_once(self, statement: ClauseElement) -> Compiled:
        compiled = self._compiled.get(statement)
        if compiled is None:
            compiled = self._compiled[statement] = statement.compile(dialect=self.dialect)
        return compiled
