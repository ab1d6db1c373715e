"""The process: its start, its sockets, and what it repeats beside the requests."""
