import unittest

from procore_auth.store import entry_file, revision, unfinished
from procore_auth.store.entry_file import Damaged, NewerFormat

FIXED = b'{"procore-auth":1,"revision":7,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}\nabc'


class Format(unittest.TestCase):
    def test_the_bytes_are_the_rust_hosts(self) -> None:
        self.assertEqual(entry_file.encode(7, None, b"abc"), FIXED)
        decoded = entry_file.decode(FIXED)
        self.assertEqual((decoded.revision, decoded.install, decoded.value), (7, None, b"abc"))
        self.assertEqual(entry_file.revision_of(FIXED[:200]), 7)

    def test_reads_what_other_writers_may_write(self) -> None:
        other = FIXED.replace(b"ba78", b"BA78").replace(b"{", b'{ "by": "js", "install": "i", ')
        self.assertEqual(entry_file.decode(other).install, "i")

    def test_a_later_format_is_not_damage(self) -> None:
        with self.assertRaises(NewerFormat):
            entry_file.decode(b'{"procore-auth":2,"other":true}\n')

    def test_no_part_and_no_changed_value_passes_for_the_whole(self) -> None:
        whole = entry_file.encode(7, "install", b"a value\nof two lines")
        for cut in range(len(whole)):
            with self.assertRaises(Damaged):
                entry_file.decode(whole[:cut])
        with self.assertRaises(Damaged):
            entry_file.decode(whole[:-1] + b"S")

    def test_foreign_files_are_damage(self) -> None:
        digest = b'"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}\n'
        for content in (
            b"",
            b"\n",
            b"{}\n",
            b"[]\n",
            b"null\n",
            b'{"procore-auth":0}\n',
            b'{"procore-auth":true,"revision":1,' + digest,
            b'{"procore-auth":1.0,"revision":1,' + digest,
            b'{"procore-auth":1,"revision":9007199254740992,' + digest,
            b'{"procore-auth":1,"revision":-1,' + digest,
            b'{"procore-auth":1}\n',
            b"\0" * 10_000,
            b"[" * 4000 + b"\n",
        ):
            with self.assertRaises(Damaged, msg=content[:60]):
                entry_file.decode(content)


class Names(unittest.TestCase):
    def test_unfinished_files(self) -> None:
        for follows in (None, 7):
            name = f"{unfinished.successor_prefix('tokens', follows)}x1y2z3"
            self.assertEqual(unfinished.parse(name), unfinished.Unfinished("tokens", True, follows))
        copy = unfinished.parse(f"{unfinished.previous_prefix('tokens')}x1y2z3")
        self.assertEqual(copy, unfinished.Unfinished("tokens", False, None))
        self.assertEqual(unfinished.parse(".tokens.123456"), unfinished.Unfinished("tokens", False, None))

    def test_the_stores_own_files_are_something_else(self) -> None:
        for name in (".guard", ".lock", ".install", "tokens", "tokens.previous", "tokens.damaged-1", ".A.x", ".", ".."):
            self.assertIsNone(unfinished.parse(name), name)


class Revisions(unittest.TestCase):
    def test_they_grow_within_53_bits(self) -> None:
        last = None
        for _ in range(100):
            following = revision.following(last)
            self.assertGreater(following, last or 0)
            self.assertLessEqual(following, revision.MAX)
            last = following
