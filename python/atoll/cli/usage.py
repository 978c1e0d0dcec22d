"""What a command raises when it is used in a way that cannot work."""


class UsageError(Exception):
    """The user asked for what cannot be done; the message says what to ask for instead."""
