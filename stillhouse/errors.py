"""The one exception for what the person at the keyboard can put right."""


class InputError(ValueError):
    """A value, file or model that the user gave cannot be used.

    The message is one line: it names the field, the value, and the way out. Programs print it without a traceback.
    """
