import fcntl
import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

import procore_auth
from procore_auth.store import Conflict, Entry, FileStore, Stored, StoreFailure
from procore_auth.store.file_lock import FileLock


class Folder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name) / "state"
        self.store = FileStore(self.root, "acme")
        self.folder = self.root / "acme"

    def put(self, value: bytes, expected: int | None = None) -> int:
        written = self.store.put("tokens", value, expected)
        assert isinstance(written, Stored), written
        return written.revision


class Entries(Folder):
    def test_the_life_of_an_entry(self) -> None:
        self.assertIsNone(self.store.get("tokens"))
        first = self.put(b"one")
        self.assertEqual(self.store.get("tokens"), Entry(b"one", first))
        second = self.put(b"two", first)
        lost = self.store.put("tokens", b"three", first)
        self.assertEqual(lost, Conflict(Entry(b"two", second)))
        self.assertEqual(self.store.keys("tok"), ["tokens"])
        self.assertEqual(self.store.delete("tokens", first), Conflict(Entry(b"two", second)))
        self.assertEqual(self.store.delete("tokens", second), Stored(second))
        self.assertIsNone(self.store.get("tokens"))
        self.assertEqual(self.store.keys(""), [])

    def test_modes_and_names(self) -> None:
        self.put(b"two", self.put(b"one"))
        self.assertEqual(sorted(os.listdir(self.folder)), [".guard", ".install", ".lock", "tokens", "tokens.previous"])
        for path in self.folder.iterdir():
            self.assertEqual(path.stat().st_mode & 0o777, 0o600, path)
        for folder in (self.root, self.folder):
            self.assertEqual(folder.stat().st_mode & 0o777, 0o700, folder)

    def test_a_torn_file_falls_back_on_the_previous_generation(self) -> None:
        first = self.put(b"one")
        self.put(b"two", first)
        (self.folder / "tokens").write_bytes(b"torn")
        self.assertEqual(self.store.get("tokens"), Entry(b"one", first, "previous"))
        self.assertEqual((self.folder / "tokens.damaged-1").read_bytes(), b"torn")
        third = self.put(b"three", first)
        self.assertEqual(self.store.get("tokens"), Entry(b"three", third))

    def test_an_older_file_that_was_put_back_is_not_taken_for_the_newest(self) -> None:
        first = self.put(b"one")
        old = (self.folder / "tokens").read_bytes()
        second = self.put(b"two", first)
        self.put(b"three", second)
        (self.folder / "tokens").write_bytes(old)
        self.assertEqual(self.store.get("tokens"), Entry(b"two", second, "previous"))

    def test_damage_without_a_previous_generation_is_a_failure_and_stays(self) -> None:
        (self.folder / "tokens").touch(0o600)
        for attempt in (lambda: self.store.get("tokens"), lambda: self.store.put("tokens", b"a", None)):
            with self.assertRaises(StoreFailure) as raised:
                attempt()
            self.assertEqual(raised.exception.code, "corrupt")
        self.assertEqual((self.folder / "tokens").read_bytes(), b"")

    def test_a_copied_folder_is_known_for_one(self) -> None:
        revision = self.put(b"one")
        mark = (self.folder / ".install").read_bytes()
        (self.folder / ".install").unlink()
        (self.folder / "other").touch(0o600)
        (self.folder / ".install").touch(0o600)
        (self.folder / ".install").write_bytes(mark)
        self.assertEqual(self.store.get("tokens"), Entry(b"one", revision, "copied"))

    def test_what_is_encrypted_is_refused_and_stays(self) -> None:
        sealed = b"\0sealed\0and so on"
        revision = self.put(sealed)
        for attempt in (lambda: self.store.get("tokens"), lambda: self.store.put("tokens", b"a", None)):
            with self.assertRaises(StoreFailure) as raised:
                attempt()
            self.assertEqual(raised.exception.code, "key-unavailable")
        self.assertIn(sealed, (self.folder / "tokens").read_bytes())
        self.assertGreater(revision, 0)

    def test_what_lets_others_in_is_refused(self) -> None:
        self.put(b"one")
        (self.folder / "tokens").chmod(0o640)
        with self.assertRaises(StoreFailure) as raised:
            self.store.get("tokens")
        self.assertEqual(raised.exception.code, "insecure-permissions")
        self.folder.chmod(0o750)
        with self.assertRaises(StoreFailure) as raised:
            FileStore(self.root, "acme")
        self.assertEqual(raised.exception.code, "insecure-permissions")

    def test_links_are_refused(self) -> None:
        (self.folder / "tokens").symlink_to("elsewhere")
        with self.assertRaises(StoreFailure) as raised:
            self.store.get("tokens")
        self.assertEqual(raised.exception.code, "insecure-permissions")
        (self.root / "link").symlink_to(self.folder)
        with self.assertRaises(StoreFailure):
            FileStore(self.root, "link")

    def test_a_key_cannot_leave_the_folder(self) -> None:
        for key in ("", "..", "a/b", "A", "a.b", "a" * 65, "tokens\n"):
            with self.assertRaises(StoreFailure) as raised:
                self.store.get(key)
            self.assertEqual(raised.exception.code, "invalid-key")
        for name in ("..", "a/b", "", ".a", "a\n"):
            with self.assertRaises(StoreFailure):
                FileStore(self.root, name)


class UnfinishedWrites(Folder):
    def leave(self, name: str, content: bytes) -> None:
        path = self.folder / name
        path.touch(0o600)
        path.write_bytes(content)

    def finish(self) -> None:
        lock = self.store.lock(1)
        assert lock is not None
        with lock:
            pass

    def test_a_whole_one_becomes_the_entry(self) -> None:
        first = self.put(b"one")
        second = self.put(b"two", first)
        newest = (self.folder / "tokens").read_bytes()
        previous = (self.folder / "tokens.previous").read_bytes()
        (self.folder / "tokens").write_bytes(previous)
        (self.folder / "tokens.previous").unlink()
        self.leave(f".tokens.{first}.abc", newest)
        self.finish()
        self.assertEqual(self.store.get("tokens"), Entry(b"two", second))
        self.assertEqual((self.folder / "tokens.previous").read_bytes(), previous)

    def test_a_torn_or_late_one_is_removed(self) -> None:
        first = self.put(b"one")
        whole = (self.folder / "tokens").read_bytes()
        self.leave(f".tokens.{first}.torn", whole[:-1])
        self.leave(".tokens.1.late", whole)
        self.leave(".tokens.previous.copy", whole)
        self.finish()
        self.assertEqual(sorted(os.listdir(self.folder)), [".guard", ".install", ".lock", "tokens"])
        self.assertEqual(self.store.get("tokens"), Entry(b"one", first))

    def test_beside_a_damaged_entry_nothing_is_touched(self) -> None:
        self.leave("tokens", b"torn")
        self.leave(".tokens.5.abc", b"perhaps the only copy")
        self.finish()
        self.assertTrue((self.folder / ".tokens.5.abc").exists())


HOLDER = """
import sys
from procore_auth.store import FileStore
with FileStore(sys.argv[1], "acme").lock(5):
    print("held", flush=True)
    sys.stdin.read()
"""


class Locks(Folder):
    def test_it_excludes_threads(self) -> None:
        held = self.store.lock(0)
        assert held is not None
        other = FileStore(self.root, "acme")
        with held:
            self.assertIsNone(other.lock(0))
            self.assertIsNone(other.lock(0.05))
        again = other.lock(0)
        assert again is not None
        with again:
            pass

    def test_a_lock_on_a_file_that_was_removed_is_none(self) -> None:
        path = self.folder.resolve() / ".lock"
        real = fcntl.flock
        replacements: list[int] = []

        def replaced(descriptor: int, operation: int) -> None:
            real(descriptor, operation)
            if operation != fcntl.LOCK_UN and not replacements:
                replacements.append(descriptor)
                path.unlink()
                path.touch(0o600)

        with mock.patch("fcntl.flock", replaced):
            held = FileLock(path).take(0)
        assert held is not None
        with held:
            self.assertIsNone(FileLock(path).take(0), "the file that is there now is locked")

    def holder(self) -> subprocess.Popen[bytes]:
        # The package need not be installed.
        found = os.pathsep.join([str(Path(procore_auth.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-c", HOLDER, str(self.root)]
        environment = {**os.environ, "PYTHONPATH": found}
        return subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def test_a_killed_holder_frees_it_at_once(self) -> None:
        process = self.holder()
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"held\n")
        self.assertIsNone(self.store.lock(0))
        granted = threading.Event()

        def wait() -> None:
            held = self.store.lock(60)
            assert held is not None
            with held:
                granted.set()

        waiter = threading.Thread(target=wait)
        waiter.start()
        process.kill()
        process.communicate()
        self.assertTrue(granted.wait(30))
        waiter.join()

    def test_a_waiter_that_gave_up_is_not_granted_it(self) -> None:
        process = self.holder()
        assert process.stdout is not None
        process.stdout.readline()
        lock = FileLock.of(self.folder.resolve() / ".lock")
        self.assertIsNone(lock.take(0.01))
        process.communicate(b"")
        for _ in range(2):
            held = lock.take(30)
            assert held is not None
            with held:
                pass
