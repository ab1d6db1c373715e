"""From the newest schema back to that of the first revision, so that an upgrade can be tried."""

UNDO = (
    "DROP TABLE counted_sessions",
    "ALTER TABLE clients DROP COLUMN session_limit",
    "ALTER TABLE clients DROP COLUMN login_limit",
    "ALTER TABLE client_keys DROP COLUMN made_by",
    "DROP TABLE kept_answers",
    "DROP INDEX ix_clients_created_at_id",
    "ALTER TABLE clients DROP COLUMN metadata",
    "ALTER TABLE client_keys DROP COLUMN public_key",
    "ALTER TABLE client_keys DROP COLUMN uses",
    "DROP TABLE identity",
    "DROP INDEX ix_revoked_jtis_access_expires_at",
    "ALTER TABLE revoked_jtis DROP COLUMN access_expires_at",
    "ALTER TABLE revoked_jtis DROP COLUMN ended_by",
    "CREATE INDEX ix_revoked_jtis_revoked_at ON revoked_jtis (revoked_at)",
)
