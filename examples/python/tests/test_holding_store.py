import unittest

from procore_auth.holding_store import HoldingStore
from procore_auth.journal import Event
from procore_auth.recorder import Recorder
from procore_auth.store import Conflict, Entry, Stored, StoreFailure

from .full_disk import Disk, Waking


class Holding(unittest.TestCase):
    def setUp(self) -> None:
        self.disk, self.clock = Disk(), Waking()
        self.events: list[str] = []
        self.store = HoldingStore(self.disk, self.clock, Recorder("acme", self.clock, [self]))

    def record(self, _: str, event: Event) -> None:
        self.events.append(event.code)

    def held(self, value: bytes = b"new") -> int:
        """Fails to write, and holds."""
        self.disk.put("session", b"old", None)
        self.disk.is_full = True
        lock = self.store.lock(0)
        assert lock is not None
        with self.assertRaises(StoreFailure):
            self.store.put("session", value, 1)
        revision = self.store.hold("session", value, 1)
        lock.free()
        return revision

    def wake_until_saved(self) -> None:
        self.disk.is_full = False
        self.clock.woken.release()
        # The thread gives the store's lock up when all is saved.
        self.assertTrue(self.disk.locked.acquire(timeout=30))
        self.disk.locked.release()

    def test_what_is_held_is_read_kept_from_others_and_stored(self) -> None:
        revision = self.held()
        self.assertEqual(self.store.get("session"), Entry(b"new", revision))
        self.assertEqual(self.store.keys(""), ["session"])
        self.assertTrue(self.disk.locked.locked(), "no other process acts on what the store still says")
        lock = self.store.lock(0)
        assert lock is not None, "this process goes on"
        lock.free()
        self.clock.woken.release()
        self.assertTrue(self.disk.locked.locked())
        self.wake_until_saved()
        self.assertEqual(self.disk.entries["session"].value, b"new")
        self.assertEqual(self.events, ["tokens-not-saved", "tokens-saved"])

    def test_a_held_entry_is_replaced_by_its_revision(self) -> None:
        revision = self.held()
        self.assertEqual(self.store.put("session", b"newer", 1), Conflict(Entry(b"new", revision)))
        self.disk.is_full = False
        self.assertEqual(self.store.put("session", b"newer", revision), Stored(2))
        self.assertEqual(self.store.get("session"), Entry(b"newer", 2))
        self.wake_until_saved()

    def test_what_somebody_wrote_without_the_lock_is_kept_aside(self) -> None:
        self.held()
        self.disk.entries["session"] = Entry(b"theirs", 9)
        self.wake_until_saved()
        self.assertEqual(self.disk.entries["session"].value, b"new")
        (aside,) = self.disk.keys("session-conflict-")
        self.assertEqual(self.disk.entries[aside].value, b"theirs")
        self.assertIn("write-without-lock", self.events)

    def test_a_held_entry_is_deleted_with_what_it_was_to_replace(self) -> None:
        revision = self.held()
        self.assertEqual(self.store.delete("session", revision), Stored(revision))
        self.assertIsNone(self.store.get("session"))
        self.assertEqual(self.disk.entries, {})
        self.wake_until_saved()

    def test_an_unread_reply_is_kept_once(self) -> None:
        for _ in range(2):
            self.store.keep_unread(b"{}")
        self.assertEqual(len(self.disk.keys("unread-reply-")), 1)
        self.assertEqual(self.events, ["kept-aside"])
