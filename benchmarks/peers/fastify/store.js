// The database of the peer with our promises: what it is asked, and two ways to commit.

import Database from 'better-sqlite3'

const GRACE_MS = 10_000

// Each write is a transaction of its own, with an fsync that everybody waits for.
export const plain = () => async (work) => work()

// The writes of one turn of the loop are one transaction, with one fsync.
export function batched (database) {
  let waiting = []
  const commitTogether = database.transaction((batch) => batch.map(({ work }) => work()))

  function commit () {
    const batch = waiting
    waiting = []
    try {
      const outcomes = commitTogether.immediate(batch)
      batch.forEach(({ resolve }, number) => resolve(outcomes[number]))
    } catch (fault) {
      batch.forEach(({ reject }) => reject(fault))
    }
  }

  return (work) => new Promise((resolve, reject) => {
    if (waiting.push({ work, resolve, reject }) === 1) setImmediate(commit)
  })
}

export function openStore (path, committing) {
  const database = new Database(path)
  database.pragma('journal_mode = WAL')
  database.pragma('synchronous = FULL')
  database.exec(`
    CREATE TABLE IF NOT EXISTS spent_tokens
      (jti TEXT PRIMARY KEY, spent_at INTEGER NOT NULL, expires_at INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS ended_sessions
      (sid TEXT PRIMARY KEY, expires_at INTEGER NOT NULL) WITHOUT ROWID;
  `)
  const findClient = database.prepare('SELECT * FROM clients WHERE id = ?')
  const findLogin = database.prepare('SELECT id FROM clients WHERE digest = ?')
  const findEnded = database.prepare('SELECT 1 FROM ended_sessions WHERE sid = ?')
  const insertEnded = database.prepare('INSERT OR IGNORE INTO ended_sessions VALUES (?, ?)')
  const insertSpent = database.prepare(`
    INSERT INTO spent_tokens SELECT @jti, @now, @exp
    WHERE EXISTS (SELECT 1 FROM clients WHERE id = @sub)
      AND NOT EXISTS (SELECT 1 FROM ended_sessions WHERE sid = @sid)
    ON CONFLICT DO NOTHING
  `)
  const findSpent = database.prepare(`
    SELECT spent_at,
      EXISTS (SELECT 1 FROM spent_tokens WHERE jti = @successor) AS successor_is_spent,
      EXISTS (SELECT 1 FROM ended_sessions WHERE sid = @sid) AS is_ended
    FROM spent_tokens WHERE jti = @jti
  `)
  const commit = committing(database)

  // When it was spent, now or by the request that this one repeats; or why it may not be.
  function spendOnce (claims, successor, now) {
    const { jti, sid, exp } = claims
    if (insertSpent.run({ ...claims, now }).changes) return { spentAt: now }
    const spent = findSpent.get({ jti, sid, successor })
    if (!spent || spent.is_ended) return { refusal: 'refresh_refused' }
    const isRepeat = now - spent.spent_at <= GRACE_MS && !spent.successor_is_spent
    if (isRepeat) return { spentAt: spent.spent_at }
    insertEnded.run(sid, exp)
    return { refusal: 'refresh_reused' }
  }

  return {
    findClient: (id) => findClient.get(id),
    findLogin: (digest) => findLogin.get(digest),
    isEnded: (sid) => findEnded.get(sid) !== undefined,
    end: (sid, expiresAt) => commit(() => insertEnded.run(sid, expiresAt)),
    spend: (claims, successor, now) => commit(() => spendOnce(claims, successor, now))
  }
}
