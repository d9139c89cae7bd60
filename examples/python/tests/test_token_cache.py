import unittest

from procore_auth import Secret, Token
from procore_auth.token_cache import TokenCache

HOUR = 3_600_000
START = 1_700_000_000_000


class FakeClock:
    def __init__(self) -> None:
        self.wall, self.passed = START, 0

    def now(self) -> int:
        return self.wall

    def elapsed(self) -> int:
        return self.passed

    def sleep(self, milliseconds: int) -> None:
        raise NotImplementedError


def token(name: str) -> Token:
    return Token(Secret(name), START + HOUR, START + 2 * HOUR)


class Cache(unittest.TestCase):
    def setUp(self) -> None:
        self.clock = FakeClock()
        self.cache = TokenCache(self.clock)
        self.cache.fill(token("one"), self.cache.generation())

    def test_a_token_is_kept_until_its_refresh_moment(self) -> None:
        self.clock.wall, self.clock.passed = START + HOUR - 1, HOUR - 1
        self.assertEqual(self.cache.current(), token("one"))
        self.clock.wall = START + HOUR
        self.assertIsNone(self.cache.current())

    def test_neither_clock_is_trusted_alone(self) -> None:
        self.clock.passed = HOUR
        self.assertIsNone(self.cache.current(), "the wall clock stands still")
        self.clock.wall, self.clock.passed = START - 1, 0
        self.assertIsNone(self.cache.current(), "the wall clock was set back")

    def test_what_was_read_before_a_change_is_not_kept(self) -> None:
        before = self.cache.generation()
        self.cache.clear()
        self.cache.fill(token("old"), before)
        self.assertIsNone(self.cache.current())

    def test_a_rejected_token_is_forgotten_and_another_is_not(self) -> None:
        self.cache.clear(where=lambda kept: kept.bearer == Secret("two"))
        self.assertEqual(self.cache.current(), token("one"))
        self.cache.clear(where=lambda kept: kept.bearer == Secret("one"))
        self.assertIsNone(self.cache.current())
