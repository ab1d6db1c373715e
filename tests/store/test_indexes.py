"""What a request asks the database is looked up in an index, however many rows there are."""

import asyncio
import re
from pathlib import Path

import pytest
from sqlalchemy.dialects.sqlite import pysqlite
from sqlalchemy.sql import ClauseElement

from authapi.store import administration, database_identity, kept_answers, own_keys
from authapi.store import client_keys as key_registry
from authapi.store import clients as registry
from authapi.store import revocations as endings
from authapi.store import sessions as store
from tables import metadata
from tests.serving import make_tables
from tests.sqlite import opened

STATEMENTS = {
    name: statement
    for module in (
        store,
        endings,
        database_identity,
        registry,
        key_registry,
        administration,
        kept_answers,
        own_keys,
    )
    for name, statement in vars(module).items()
    if name.isupper() and isinstance(statement, ClauseElement)
}
TABLES = "|".join([*metadata.tables, "ended", "eras", "successors"])
LISTS_ALL = {"COUNT_CLIENTS", "COUNT_ADMINISTRATORS", "PING"}  # for operators, and one row of any
ASKS_NOTHING = {
    *("ADD_CLIENT", "ADD_KEY", "COUNT_IN", "KEEP_ANSWER", "SPEND_ASSERTION"),
    *("CHANGE_IDENTITY", "REMEMBER_PURGE", "RAISE_ISSUED_UNTIL"),
}


@pytest.mark.parametrize("name", sorted(STATEMENTS.keys() - LISTS_ALL - ASKS_NOTHING))
def test_no_question_reads_a_whole_table(name: str, tmp_path: Path) -> None:
    asyncio.run(make_tables(f"sqlite:///{tmp_path}/auth.db"))
    compiled = STATEMENTS[name].compile(dialect=pysqlite.dialect(paramstyle="named"))
    with opened(tmp_path / "auth.db") as database:
        plan = database.execute(
            f"EXPLAIN QUERY PLAN {compiled}", dict.fromkeys(compiled.params, 1)
        ).fetchall()
    steps = [detail for *_, detail in plan]
    steps = [step for step in steps if "identity" not in step]  # of one row
    reads = [step for step in steps if re.match(rf"(SCAN|SEARCH) ({TABLES})\b", step)]
    assert reads
    assert all(step.startswith("SEARCH") and " USING " in step for step in reads), steps
