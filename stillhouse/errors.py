"""Errors that are not faults of the code: what the user can correct, and being stopped by a scheduler."""


class InputError(ValueError):
    """A value, file or model that the user gave cannot be used.

    The message is one line: it names the field, the value, and the way out. Programs print it without a traceback.
    """


class Preempted(Exception):
    """The process was asked to end and has: the same command goes on from its checkpoint."""
