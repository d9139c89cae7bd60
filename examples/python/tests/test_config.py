import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from procore_auth import Config, Misconfigured, Policy
from procore_auth.connect_to import ConnectTo
from procore_auth.settings import AuthorizationCode, ClientCredentials

TEXT = """
state = "state"
[connections.acme]
environment = "sandbox"
client_id = "id"
client_secret = { file = "acme.secret" }
grant = "authorization-code"
redirect_uri = "http://localhost:9876/callback"
company_id = 7
[connections.acme.policy]
refresh_percent = 70
token_timeout = "20s"
lock_wait = "1m 30s"
"""


class Files(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.secret = self.folder / "acme.secret"
        self.secret.touch(0o600)
        self.secret.write_text("hunter2\n")

    def config(self, text: str = TEXT) -> Config:
        path = self.folder / "config.toml"
        path.write_text(text)
        return Config.load(path)

    def refused(self, text: str, why: str, **environment: str) -> None:
        with mock.patch.dict(os.environ, environment), self.assertRaisesRegex(Misconfigured, why) as raised:
            self.config(text).settings()
        self.assertNotIn("hunter2", str(raised.exception))

    def test_the_tools_file(self) -> None:
        settings = self.config().settings()
        self.assertEqual((settings.name, settings.environment, settings.client_id), ("acme", "sandbox", "id"))
        self.assertEqual(settings.client_secret.expose(), "hunter2")
        self.assertEqual(settings.grant, AuthorizationCode("http://localhost:9876/callback"))
        self.assertEqual(settings.policy, Policy(refresh_percent=70, token_timeout=20, lock_wait=90))

    def test_a_service_account(self) -> None:
        text = TEXT.replace("authorization-code", "client-credentials")
        self.assertEqual(self.config(text).settings().grant, ClientCredentials())

    def test_a_secret_in_the_environment(self) -> None:
        text = TEXT.replace('file = "acme.secret"', 'env = "ACME_SECRET"')
        with mock.patch.dict(os.environ, {"ACME_SECRET": "hunter2"}):
            self.assertEqual(self.config(text).settings().client_secret.expose(), "hunter2")
        self.refused(text, "nothing", ACME_SECRET="")

    def test_a_secret_in_the_file_itself_is_refused_and_not_shown(self) -> None:
        self.refused(TEXT.replace('{ file = "acme.secret" }', '"hunter2"'), "not to hold it")
        self.refused(TEXT.replace('{ file = "acme.secret" }', '"hunter2'), "not TOML")
        self.refused(TEXT.replace('file = "acme.secret"', 'keyring = "acme"'), "does not know")

    def test_a_secret_that_others_can_read_is_refused(self) -> None:
        self.secret.chmod(0o640)
        self.refused(TEXT, "chmod 600")

    def test_mistakes_are_named(self) -> None:
        self.refused(TEXT.replace("environment", "environmant"), "environment")
        self.refused(TEXT.replace('"sandbox"', '"staging"'), "staging")
        self.refused(TEXT.replace("20s", "20 sheep"), "sheep")
        self.refused(TEXT.replace("20s", "2m"), "lock_wait")
        self.refused(TEXT.replace("lock_wait", "lock_wiat"), "lock_wiat")
        self.refused(TEXT.replace("connections.acme", "connections.Acme"), "name")
        self.refused(TEXT + "[encryption]\nkey = { env = 'KEY' }\n", "encrypted")
        self.refused("", "0 connections")
        with self.assertRaisesRegex(Misconfigured, "cannot be read"):
            Config.load(self.folder / "none.toml")


class Overrides(unittest.TestCase):
    def test_what_is_one(self) -> None:
        parsed = ConnectTo.parse("Login.Procore.com:443=127.0.0.1:8443")
        self.assertEqual(parsed, ConnectTo("login.procore.com", 443, "127.0.0.1", 8443, False))
        for plain in ("127.0.0.1:80", "127.9.9.9:3000", "[::1]:3000"):
            self.assertTrue(ConnectTo.parse(f"a.b:443=http://{plain}").is_plain)

    def test_what_is_none(self) -> None:
        for text in (
            "",
            "a.b:443",
            "a.b=127.0.0.1:1",
            "a@b:443=127.0.0.1:1",
            "a.b.:443=127.0.0.1:1",
            "a.b:0=127.0.0.1:1",
            "a.b:65536=127.0.0.1:1",
            "a.b:443=localhost:1",
            "a.b:443=127.0.0.1:0",
            "a.b:443=999.0.0.1:1",
            "a.b:443=http://10.0.0.1:80",
            "a.b:443=http://0.0.0.0:80",
            "a.b:443=http://[::ffff:127.0.0.1]:80",
            "a.b:443=http://169.254.169.254:80",
            "a.b:443=ftp://127.0.0.1:1",
        ):
            with self.assertRaises(ValueError, msg=text):
                ConnectTo.parse(text)
