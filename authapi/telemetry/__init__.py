"""What the service reports: audit events and log lines."""
