"""Why the host ended a plugin call."""

from __future__ import annotations

from .errors import Internal, internal

_CAUSE = "a defect of the plugin; stored tokens are as its last completed write left them"
_REMEDY = "look for an event with the code `panic` in the journal, and report it; the next call starts afresh"


class Stopped(Exception):
    """The plugin used the host beyond its limits, or against the contract."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code
        self.why = why

    @classmethod
    def misuse(cls, what: str) -> Stopped:
        """The plugin used the host against the contract."""
        return cls("plugin-trapped", f"it used the host against the contract: {what}")

    def to_error(self) -> Internal:
        """Makes the caller's error. Holds nothing that the plugin wrote."""
        return internal(self.code, f"the plugin was stopped: {self.why}", _CAUSE, _REMEDY)


OUT_OF_TIME = Stopped("plugin-out-of-time", "it computed for longer than it may")
TOO_MANY_HOST_CALLS = Stopped("too-many-host-calls", "it called the host more often than it may")
TRAPPED = Stopped("plugin-trapped", "it trapped, or asked for more memory than it may have")


def host_failed(error: BaseException) -> Internal:
    """Makes the error of a call that a capability ended by an exception of its own. Does not repeat its text: who knows what is in it."""
    return internal(
        "host-panicked",
        f"the host failed while the plugin ran: {type(error).__name__}",
        "a defect of this host or of a capability that was given to it",
        "look for the traceback in the log, and report it",
    )


def out_of_time() -> Internal:
    """Makes the error of a caller that waits no longer."""
    return internal(
        "plugin-out-of-time",
        "the call did not end within its deadline; it goes on in the background",
        "most likely the store does not answer",
        "check the disk that holds the tokens, and call again",
    )
