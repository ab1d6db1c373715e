"""Every question to the database: SQL is written here only."""
