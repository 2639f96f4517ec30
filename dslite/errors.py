"""Errors that are a message to the user, not a fault of the program."""


class InputError(ValueError):
    """Something a user gave cannot be used; the text names what, where and the remedy.

    The command line prints it without a traceback and exits with status 2.
    """


class NotebookError(RuntimeError):
    """A notebook's cell failed; the text shows where and why in one screen. Exit status 1."""


class ConversionError(RuntimeError):
    """A converted file and the trained model do not agree. Exit status 1."""
