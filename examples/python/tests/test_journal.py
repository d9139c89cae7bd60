import stat
import tempfile
import unittest
from pathlib import Path

from procore_auth import Event, JsonLinesJournal, LoggingJournal
from procore_auth.capabilities import _shortened

EVENT = Event(1_700_000_000_123, "alert", "sign-in-required", 'line\nbreak "quote" ä', [("z", "1"), ("a", "\0")])
LINE = (
    r'{"at":"2023-11-14T22:13:20.123Z","connection":"acme","severity":"alert","code":"sign-in-required",'
    r'"message":"line\nbreak \"quote\" ä","fields":{"z":"1","a":"\u0000"}}'
)


class Lines(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name) / "journal.jsonl"

    def test_the_lines_are_the_rust_hosts(self) -> None:
        journal = JsonLinesJournal(self.path)
        journal.record("acme", EVENT)
        self.path.rename(self.path.with_suffix(".1"))
        journal.record("acme", EVENT)
        journal.record("acme", EVENT)
        self.assertEqual(self.path.read_text(), f"{LINE}\n{LINE}\n")
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_a_link_is_refused(self) -> None:
        self.path.symlink_to("elsewhere")
        with self.assertRaises(OSError):
            JsonLinesJournal(self.path)
        self.assertFalse((self.path.parent / "elsewhere").exists())

    def test_what_cannot_be_written_is_told(self) -> None:
        journal = JsonLinesJournal(self.path)
        self.path.unlink()
        self.path.mkdir()
        with self.assertLogs("procore_auth", "ERROR"):
            journal.record("acme", EVENT)


class Logging(unittest.TestCase):
    def test_an_event_stays_one_line(self) -> None:
        with self.assertLogs("procore_auth", "ERROR") as logged:
            LoggingJournal().record("acme", EVENT)
        (line,) = logged.output
        self.assertTrue(line.isprintable(), line)
        self.assertIn("acme sign-in-required: line", line)


class Bounds(unittest.TestCase):
    def test_a_text_is_cut_between_characters_at_a_number_of_bytes(self) -> None:
        self.assertEqual(_shortened("abc", 3), "abc")
        self.assertEqual(_shortened("aäöü", 6), "aä…")
        self.assertEqual(len(_shortened("ä" * 4000, 2048).encode()), 2047)
