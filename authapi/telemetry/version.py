"""The version of the service, as it tells it."""

VERSION = "0.1.0"
