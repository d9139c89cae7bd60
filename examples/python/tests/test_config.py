import hashlib
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from procore_auth import Config, Misconfigured, Policy, spans
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

    def refused(self, text: str, why: str, *, code: str = "config-invalid", **environment: str) -> None:
        """``why`` is a piece of what is told; it begins with the line and the column where it has them."""
        with self.subTest(why), mock.patch.dict(os.environ, environment), self.assertRaises(Misconfigured) as raised:
            self.config(text).open()
        told = str(raised.exception.diagnosis)
        self.assertIn(f"config.toml:{why}" if why[:1].isdigit() else why, told)
        self.assertEqual(raised.exception.code, code)
        self.assertNotIn("hunter2", told)

    def replaced(self, old: str, new: str) -> str:
        self.assertIn(old, TEXT)
        return TEXT.replace(old, new, 1)

    def test_the_tools_file(self) -> None:
        settings = self.config().settings()
        self.assertEqual((settings.name, settings.environment, settings.client_id), ("acme", "sandbox", "id"))
        self.assertEqual(settings.client_secret.expose(), "hunter2")
        self.assertEqual(settings.grant, AuthorizationCode("http://localhost:9876/callback"))
        self.assertEqual(settings.policy, Policy(refresh_percent=70, token_timeout=20, lock_wait=90))

    def test_a_service_account(self) -> None:
        text = TEXT.replace("authorization-code", "client-credentials").replace("redirect_uri", "#")
        self.assertEqual(self.config(text).settings().grant, ClientCredentials())

    def test_a_secret_in_the_environment(self) -> None:
        text = self.replaced('file = "acme.secret"', 'env = "ACME_SECRET"')
        for value in ("hunter2", "hunter2\n", "hunter2\r\n"):
            with mock.patch.dict(os.environ, {"ACME_SECRET": value}):
                self.assertEqual(self.config(text).settings().client_secret.expose(), "hunter2")
        self.refused(text, "6:1: the environment variable ACME_SECRET is not set")
        self.refused(text, "6:1: the environment variable ACME_SECRET is empty", ACME_SECRET=" \n")
        self.refused(text.replace("ACME_SECRET", "hunter2"), "6:1: the environment variable that is named here is not set")

    def test_a_secret_in_the_file_itself_is_refused_and_not_shown(self) -> None:
        for written in ('"hunter2"', "['hunter2']", "{ value = 'hunter2' }", "{ env = 'PATH', file = 'hunter2' }", "{ env = 'hunter 2' }"):
            self.refused(self.replaced('{ file = "acme.secret" }', written), "6:1: ")
        for written in ("[connections.acme.client_secret]\nvalue = 'hunter2'", "clint_secret = 'hunter2'", "'hunter2' = 1"):
            self.refused(f"{TEXT}{written}\n", ": ")
        self.refused(self.replaced('{ file = "acme.secret" }', '"hunter2'), "6:")
        self.refused(self.replaced('file = "acme.secret"', 'keyring = "acme"'), "6:1: this host does not read the keyring")
        self.refused(self.replaced('file = "acme.secret"', 'file = "hunter2"'), "6:1: cannot read the file")

    def test_a_secret_that_others_can_read_is_refused(self) -> None:
        self.secret.chmod(0o640)
        self.refused(TEXT, "chmod 600")

    def test_a_secret_that_is_no_file_or_empty_is_refused(self) -> None:
        self.secret.write_text(" \n")
        self.refused(TEXT, "is empty")
        self.secret.write_text("hunter2\r")
        self.assertEqual(self.config().settings().client_secret.expose(), "hunter2\r")
        self.secret.unlink()
        os.mkfifo(self.secret, 0o600)
        self.refused(TEXT, "not a regular file")

    def test_unknown_keys_are_refused_at_their_place(self) -> None:
        for line, why in (
            ("states = 1", "1:1: unknown field `states`, expected one of `state`, "),
            ("network.proxy = 1", "1:9: unknown field `proxy`, expected one of `extra_ca`, `connect_to`"),
            ("plugin = { path = 'p', sha265 = '0' }", "1:24: unknown field, expected one of `path`, `sha256`"),
            ("plugin.sha265 = '0'", "1:8: unknown field, expected one of `path`, `sha256`"),
        ):
            self.refused(f"{line}\n{TEXT}", why)
        self.refused(self.replaced("company_id", "compny_id"), "9:1: unknown field `compny_id`")
        self.refused(self.replaced("lock_wait", "lock_wiat"), "13:1: unknown field `lock_wiat`")
        for table in ("alerts.ops", "metrics", "encryption", "connections.acme.fallback", "connections.acme.encryption", "network"):
            self.refused(f"{TEXT}[{table}]\nhunters = 1\n", "15:1: unknown field `hunters`")
        self.refused(f"{TEXT}Zk3QvPmX8sLw = 1\n", "14:1: unknown field, expected")

    def test_mistakes_are_shown_at_their_place(self) -> None:
        for old, new, why in (
            ("environment", "#", "3:14: missing field `environment`"),
            ('"sandbox"', '"sandbx"', "4:1: unknown variant `sandbx`, expected one of `production`, "),
            ('"id"', '" "', "5:1: the client id is empty"),
            ('"id"', '{ file = "x" }', "5:1: a client id is no secret"),
            ("= 7", "= -1", "9:1: this number is out of range"),
            ("= 7", '= "7"', "9:1: a whole number"),
            ("= 7", "= true", "9:1: a whole number"),
            ('"http://localhost:9876/callback"', '""', "8:1: redirect_uri is"),
            ("redirect_uri", "#", "7:1: the grant authorization-code needs"),
            ("authorization-code", "client-credentials", "8:1: the grant client-credentials has no"),
            ("= 70", "= 100", "11:1: refresh_percent"),
            ("20s", "20 sheep", "12:1: this is not a span"),
            ("20s", "1s", "12:1: token_timeout is at least 5"),
            ("1m 30s", "20s", "13:1: lock_wait must be longer"),
            ('"20s"\nlock_wait = "1m 30s"', '"2m"', "12:1: lock_wait must be longer"),
            ('state = "state"', 'state = ""', "2:1: this names no file"),
            ('state = "state"', "state = 1", "2:1: a text in quotes"),
            ('state = "state"', 'network = 1', "2:1: a table"),
            ('state = "state"', 'network.connect_to = ["hunter2"]', "2:9: this connect_to"),
            ('state = "state"', 'default_connection = "acne"', "2:1: there is no such connection"),
            ('state = "state"', "plugin = 5", "2:1: a path in quotes, or {"),
            ('state = "state"', "plugin = {}", "2:1: `path`, `sha256` or both"),
            ('state = "state"', "plugin = { path = 7 }", "2:12: a text in quotes"),
            ('state = "state"', "plugin = { path = 'p', sha256 = 5 }", "2:24: a text in quotes"),
            ('state = "state"', "plugin.sha256 = 'é'", "2:8: this is no SHA-256"),
            ('state = "state"', "journal = [\n1,\n2]", "2:1: a text in quotes"),
            ('state = "state"', "state = 'a'\nstate = 'hunter2'", "3:"),
        ):
            self.refused(self.replaced(old, new), why)
        self.refused(TEXT.replace("connections.acme", 'connections."../acme"'), "3:14: a connection name is")

    def test_a_mistake_in_another_connection_is_one_too(self) -> None:
        other = TEXT[TEXT.index("[") :].replace("acme]", "robot]").replace("acme.policy", "robot.policy").replace("= 70", "= 0")
        self.refused(f"default_connection = 'acme'\n{TEXT}{other}", "23:1: refresh_percent")

    def test_what_can_not_be_opened_here(self) -> None:
        self.refused(TEXT + "[encryption]\nkey = { env = 'KEY' }\n", "encrypted", code="key-unavailable")
        self.refused("", "no connection", code="config-no-connection")
        other = TEXT[TEXT.index("[") :].replace("acme", "robot")
        self.refused(TEXT + other, "several", code="config-ambiguous-connection")
        with self.assertRaisesRegex(Misconfigured, "config-unknown-connection"):
            self.config().settings("other")
        for path in (self.folder / "none.toml", self.folder):
            with self.assertRaisesRegex(Misconfigured, "config-unreadable"):
                Config.load(path)

    def test_a_file_that_is_none_or_that_anybody_may_write_is_refused(self) -> None:
        path = self.folder / "config.toml"
        self.config()
        path.chmod(0o666)
        with self.assertRaisesRegex(Misconfigured, "insecure-permissions") as raised:
            Config.load(path)
        self.assertIn(f"chmod o-w {path}", raised.exception.remedy)
        path.chmod(0o664)
        Config.load(path)
        path.unlink()
        os.mkfifo(path)
        with self.assertRaisesRegex(Misconfigured, "not a regular file"):
            Config.load(path)

    def test_the_plugin_of_the_file(self) -> None:
        wasm = b"\0asm"
        (self.folder / "p.wasm").write_bytes(wasm)
        digest = hashlib.sha256(wasm).hexdigest()
        for written, code, why in (
            (f"{{ path = 'p.wasm', sha256 = '{'0' * 64}' }}", "plugin-not-pinned", "pinned"),
            (f"{{ path = 'p.wasm', sha256 = '{digest.upper()}' }}", "plugin", "not a WebAssembly component"),
            (f"{{ sha256 = '{'0' * 64}' }}", "plugin-not-pinned", "pinned"),
            (f"{{ sha256 = '{digest}' }}", "plugin", "not a WebAssembly component"),
            ("'none.wasm'", "plugin", "No such file"),
        ):
            self.refused(f"plugin = {written}\n{TEXT}", why, code=code, PROCORE_AUTH_PLUGIN=str(self.folder / "p.wasm"))


class Spans(unittest.TestCase):
    def test_what_is_one(self) -> None:
        for text, seconds in (
            ("30s", 30),
            ("30 seconds", 30),
            ("1h 30m", 5400),
            ("1h30m", 5400),
            ("1h, 30m", 5400),
            ("1.5h", 5400),
            ("1h1.5m", 3690),
            ("7d", 604_800),
            ("2 wks", 1_209_600),
            ("500ms", 0.5),
        ):
            self.assertEqual(spans.parse(text), seconds, text)

    def test_what_is_none(self) -> None:
        for text in ("", "30", "-30s", "soon", "1 month", "3 0s", "30s 1m", "1m 1m", "30S", " 30s", "30s ", "1.5d", "1.5h 3m", "30s,", "30s ago"):
            with self.assertRaises(ValueError, msg=text):
                spans.parse(text)


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
