"""Whom routes of your own let in: registered as clients, so that each session is like any other."""
