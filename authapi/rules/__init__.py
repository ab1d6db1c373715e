"""What the service decides: no SQL, no HTTP."""
