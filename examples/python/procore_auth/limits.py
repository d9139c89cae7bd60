"""What one plugin call may take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .settings import Policy

_BESIDE_BODY = 16 << 20
_MOST_MEMORY = 256 << 20


@dataclass(frozen=True)
class Limits:
    """Beyond these, the call ends with one error of kind ``internal``, and nothing else is harmed.

    ``fuel`` is what the plugin may compute, and cuts it off where it stands. ``deadline`` is the time of the whole call, most of which is
    waiting for servers: it cuts nothing off, because a refresh that was sent must still be saved. Instead every wait is shortened to what
    is left of it. The caller gets an answer ``grace`` seconds after it at the latest; the call itself goes on to its end.
    """

    memory: int = 64 << 20
    """The most bytes of the plugin's memory. Less than ``Policy.parked_bytes`` and 16 MiB has no effect."""
    fuel: int = 10_000_000_000
    """About the number of instructions: some seconds of computing."""
    deadline: float = 120
    """In seconds; a request has its own time on top. Less than the policy's wait for the lock and two requests for a token has no effect."""
    replay_deadline: float = 600
    """As ``deadline``, for the calls that may replay many requests."""
    grace: float = 10
    reply_size: int = 4 << 20
    """The most bytes of one reply's body. Bodies cross into the plugin byte by byte: see the README."""
    host_calls: int = 10_000
    """How often one call may call the host. Less than 1000 and 40 for every request that may be parked has no effect."""

    def for_policy(self, policy: Policy) -> Limits:
        """Returns these limits, with what the policy needs at least."""
        memory = min(max(self.memory, policy.parked_bytes + _BESIDE_BODY), _MOST_MEMORY)
        host_calls = max(self.host_calls, 1000 + 40 * policy.parked_count)
        least = policy.lock_wait + 2 * policy.token_timeout
        deadline, replay_deadline = max(self.deadline, least), max(self.replay_deadline, least)
        return replace(self, memory=memory, host_calls=host_calls, deadline=deadline, replay_deadline=replay_deadline)


def host_calls_for_saving(policy: Policy) -> int:
    """How many calls of the host are kept for the time after the last HTTP request: to save what it brought."""
    return 200 + 4 * policy.parked_count
