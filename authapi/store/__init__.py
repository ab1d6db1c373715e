"""Every question of the service to its database: SQL is written here."""
