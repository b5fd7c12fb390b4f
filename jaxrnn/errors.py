"""Errors that a caller may want to tell apart. All other bad input raises ValueError or TypeError."""


class UnsupportedBackend(ValueError):
    """A backend was asked for by name and cannot run this cell or input; the message says why."""
