"""The one error that bad input raises, in every package and on the command line (exit code 2), and the one warning."""


class InputError(ValueError):
    """What was handed in cannot be used.

    The message is one clear line (or a list, one finding a line): which file, which layer or tensor, what was
    expected, what was found, what to do.
    """


class InputWarning(UserWarning):
    """What was handed in is used, but not all of it: which file, and what of it is left out."""
