"""The one error that bad input raises, in every package and on the command line (exit code 2)."""


class InputError(ValueError):
    """What was handed in cannot be used.

    The message is one clear line (or a list, one finding a line): which file, which layer or tensor, what was
    expected, what was found, what to do.
    """
