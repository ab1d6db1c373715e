"""What may be done to clients and keys: the one place for a command and for a call over HTTP."""
