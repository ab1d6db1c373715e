"""The answers that are kept for whoever repeats a request: one coroutine for each question."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert  # its ON CONFLICT serves SQLite too

from authapi.engines.database import Database, Row
from tables import kept_answers

FIND_ANSWER = sa.select(kept_answers.c.request, kept_answers.c.sealed).where(
    kept_answers.c.digest == sa.bindparam("digest"), kept_answers.c.expires_at > sa.bindparam("now")
)


async def find_answer(database: Database, digest: str, now: float) -> Row | None:
    """What was kept under this digest, and is not over."""
    return await database.fetch_one(FIND_ANSWER, {"digest": digest, "now": int(now)})


_kept = insert(kept_answers).values(
    digest=sa.bindparam("digest"),
    request=sa.bindparam("request"),
    sealed=sa.bindparam("sealed"),
    expires_at=sa.bindparam("expires_at"),
)
KEEP_ANSWER = _kept.on_conflict_do_update(
    index_elements=[kept_answers.c.digest],
    set_={name: _kept.excluded[name] for name in ("request", "sealed", "expires_at")},
).returning(kept_answers.c.digest)


async def keep_answer(
    database: Database, digest: str, request: str, sealed: str, expires_at: int
) -> None:
    """In place of one that is over. For the transaction in which it was found that there is none
    that counts."""
    values = {"digest": digest, "request": request, "sealed": sealed, "expires_at": expires_at}
    await database.fetch_one(KEEP_ANSWER, values)


FORGET_ANSWERS = (
    sa.delete(kept_answers)
    .where(kept_answers.c.expires_at < sa.bindparam("now"))
    .returning(kept_answers.c.digest)
)


async def forget_answers(database: Database, now: float) -> int:
    """Delete what is over, and return how many there were."""
    return len(await database.fetch_all(FORGET_ANSWERS, {"now": int(now)}))
