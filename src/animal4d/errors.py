"""The one exception that users see: a single line that says what is wrong, where, and what to do about it."""


class Animal4dError(Exception):
    """Something the user can put right: bad input, a missing file, a run that cannot go on.

    The command line prints the message as one line and exits with status 1; everything else is a bug and keeps its
    traceback.
    """
