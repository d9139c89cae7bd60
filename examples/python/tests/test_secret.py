import copy
import pickle
import unittest

from procore_auth import Secret, Settings
from procore_auth.answers import Token
from procore_auth.settings import ClientCredentials


class Secrets(unittest.TestCase):
    def test_a_secret_is_not_shown(self) -> None:
        secret = Secret("hunter2")
        settings = Settings("acme", "sandbox", "id", secret, ClientCredentials())
        token = Token(secret, 1, 2)
        for shown in (str(secret), repr(secret), f"{secret}", f"{secret:>9}", f"{[secret]}", repr(settings), repr(token)):
            self.assertNotIn("hunter2", shown)
        self.assertIn("****", repr(settings))
        self.assertEqual(secret.expose(), "hunter2")

    def test_a_secret_does_not_travel(self) -> None:
        for way in (pickle.dumps, copy.copy):
            with self.assertRaises(TypeError):
                way(Secret("hunter2"))

    def test_the_fingerprint_is_the_rust_hosts(self) -> None:
        settings = Settings("acme", "sandbox", "id", Secret("hunter2"), ClientCredentials())
        self.assertEqual(settings.secret_fingerprint(), "1dfff4543185f233")
