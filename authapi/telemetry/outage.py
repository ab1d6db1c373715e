"""Tells once that something cannot be asked, and once that it answers again."""

import logging


class Outage:
    """Logs `began` and `ended` as often as that happens, whoever notices, and however often."""

    def __init__(self, logger: logging.Logger, began: str, ended: str) -> None:
        self._logger = logger
        self._began = began
        self._ended = ended
        self.is_on = False

    def begin(self, fault: BaseException, **details: str) -> None:
        """The text of the fault is left out: a driver may quote values in it."""
        if not self.is_on:
            details = {"fault": type(fault).__name__} | details
            self._logger.error(self._began, extra={"details": details})
        self.is_on = True

    def end(self) -> None:
        if self.is_on:
            self._logger.info(self._ended)
        self.is_on = False


def first_line(fault: BaseException) -> str:
    """Further lines of PostgreSQL's may quote a row."""
    return next(iter(str(fault).splitlines()), type(fault).__name__)
