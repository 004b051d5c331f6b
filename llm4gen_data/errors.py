"""The one exception for mistakes a user can mend: commands print it as a single line and exit with its code."""


class UserError(Exception):
    """A mistake in what the user gave (exit code 1), told in one line: where, the value, what was expected."""

    exit_code = 1


class UsageError(UserError):
    """A mistake in how a command was called: unknown option value, unknown config key (exit code 2)."""

    exit_code = 2
