"""The error that is one line for the user."""


class ConfigError(ValueError):
    """The configuration is wrong; the message says what must hold, what was given and what to write
    instead."""
