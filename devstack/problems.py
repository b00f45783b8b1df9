"""The one error of devstack: a sentence for the person who called it."""


class DevstackError(Exception):
    """Something outside our hands is wrong; the message is one sentence that says what to do.

    The command line prints it and ends with `exit_code`.
    """

    exit_code = 1


class DownloadError(DevstackError):
    """A jar cannot be fetched, or is not the one that the lock file names."""

    exit_code = 2


class SettingError(DevstackError):
    """A setting is missing or wrong."""

    exit_code = 2
