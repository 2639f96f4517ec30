"""Errors that are a message to the user, not a fault of the program."""

import re

LONGEST = 2000  # characters of a line
HALVES = re.compile("[\ud800-\udfff]")  # of characters beyond 16 bits: what has one is no text
# Control characters but the line's end, halves of characters, and what turns the reading direction
UNSHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class InputError(ValueError):
    """Something a user gave cannot be used; the text names what, where and the remedy.

    The command line prints it without a traceback and exits with status 2. What it quotes of a
    file is shortened, and unprintable characters of it are shown as Python writes them.
    """

    def __init__(self, text: object):
        lines = str(text).split("\n")
        cut = LONGEST // 2  # what a message begins and ends with is ours: place and remedy
        lines = [x if len(x) <= LONGEST else f"{x[:cut]} ... {x[-cut:]}" for x in lines]
        super().__init__(UNSHOWN.sub(lambda match: repr(match[0])[1:-1], "\n".join(lines)))


class NotebookError(RuntimeError):
    """A notebook's cell failed; the text shows where and why in one screen. Exit status 1."""


class ConversionError(RuntimeError):
    """A converted file and the trained model do not agree. Exit status 1."""
