"""The service describes itself."""
