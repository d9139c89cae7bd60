"""A component that misbehaves costs its caller one typed error, and harms nothing else."""

import threading
import unittest
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import wasmtime

from procore_auth import AuthError, LoadError, Plugin, Secret, Settings, SystemClock
from procore_auth.binding import turn
from procore_auth.call import Call
from procore_auth.egress import Egress
from procore_auth.faults import Faults
from procore_auth.holding_store import HoldingStore
from procore_auth.journal import Event
from procore_auth.lent import Lent
from procore_auth.limits import Limits
from procore_auth.recorder import Recorder
from procore_auth.settings import ClientCredentials
from procore_auth.store import Conflict

MODULE = """
(component
  (import "procore:auth/clock@0.1.0" (instance $clock (export "now" (func (result u64)))))
  (core func $now (canon lower (func $clock "now")))
  (core module $m
    (import "clock" "now" (func $now (result i64)))
    (memory (export "memory") 1)
    (func (export "status") {body})
    (func (export "forget")))
  (core instance $i (instantiate $m (with "clock" (instance (export "now" (func $now))))))
  (func $status (canon lift (core func $i "status")))
  (func $forget (canon lift (core func $i "forget")))
  (instance $auth (export "status" (func $status)) (export "forget" (func $forget)))
  (instance $none)
  (export "procore:auth/auth@0.1.0" (instance $auth))
  (export "procore:auth/api@0.1.0" (instance $none))
  (export "procore:auth/advice@0.1.0" (instance $none)))
"""


class World:
    """Stores nothing, and remembers events and locks."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def record(self, _: str, event: Event) -> None:
        self.events.append(event)

    def get(self, _: str) -> None:
        return None

    def put(self, *_: Any) -> Conflict:
        return Conflict(None)

    delete = put

    def keys(self, _: str) -> list[str]:
        return []

    def lock(self, _: float) -> Any:
        return nullcontext()


def component(body: str, change: Callable[[str], str] = str) -> bytes:
    return bytes(wasmtime.wat2wasm(change(MODULE.format(body=body))))


def plugin(body: str) -> Plugin:
    return Plugin(component(body))


def lent(world: World, clock: Any = None) -> Lent:
    clock = clock or SystemClock()
    recorder = Recorder("acme", clock, [world])
    settings = Settings("acme", "sandbox", "id", Secret("hunter2"), ClientCredentials())
    store = HoldingStore(world, clock, recorder)
    limits = Limits(fuel=50_000_000, memory=4 << 20, host_calls=1000)
    return Lent(settings, "test/1", Egress("sandbox"), None, clock, store, recorder, Faults(recorder), limits)  # type: ignore[arg-type]


class Containment(unittest.TestCase):
    def stopped(self, body: str, code: str, clock: Any = None) -> None:
        world, loaded = World(), plugin(body)
        with self.assertRaises(AuthError) as raised:
            Call(loaded, lent(world, clock), "auth", "status", deadline=60).run()
        self.assertEqual((raised.exception.kind, raised.exception.code), ("internal", code))
        self.assertEqual([(event.severity, event.code) for event in world.events], [("alert", code)])
        Call(loaded, lent(world), "auth", "forget", deadline=60).run()

    def test_a_fault_that_lasts_is_one_alert_and_its_end_is_told(self) -> None:
        class Stopped(SystemClock):
            is_stopped = True

            def now(self) -> int:
                return 0 if self.is_stopped else super().now()

        world, clock = World(), Stopped()
        loaded, ours = plugin("(if (i64.eqz (call $now)) (then unreachable))"), lent(world, clock)
        for _ in range(3):
            with self.assertRaises(AuthError):
                Call(loaded, ours, "auth", "status", deadline=60).run()
        # Another function's success ends nothing.
        Call(loaded, ours, "auth", "forget", deadline=60).run()
        clock.is_stopped = False
        for _ in range(2):
            Call(loaded, ours, "auth", "status", deadline=60).run()
        told = [(event.severity, event.code, event.fields) for event in world.events]
        fault, fields = "plugin-trapped", [("function", "status")]
        again = ("warning", fault, fields)
        self.assertEqual(told, [("alert", fault, fields), again, again, ("info", "plugin-recovered", fields)])

    def test_a_call_that_does_not_end_in_time_is_told_and_so_is_its_end(self) -> None:
        entered, released = threading.Event(), threading.Event()

        class Hanging(SystemClock):
            def now(self) -> int:
                if not entered.is_set():
                    entered.set()
                    released.wait(30)
                return super().now()

        world = World()
        ours = lent(world, Hanging())
        call = Call(plugin("(drop (call $now))"), replace(ours, limits=replace(ours.limits, grace=0)), "auth", "status", deadline=0.01)
        with self.assertRaises(AuthError) as raised:
            call.run()
        self.assertEqual(raised.exception.code, "plugin-out-of-time")
        released.set()
        for thread in threading.enumerate():
            if thread.name == "procore-auth-call":
                thread.join(30)
        told = [(event.severity, event.code) for event in world.events]
        self.assertEqual(told, [("alert", "plugin-out-of-time"), ("info", "plugin-recovered")])

    def test_an_endless_loop(self) -> None:
        self.stopped("(loop (br 0))", "plugin-out-of-time")

    def test_a_trap(self) -> None:
        self.stopped("unreachable", "plugin-trapped")

    def test_a_memory_bomb_gets_no_more_than_its_limit(self) -> None:
        # 4 MiB are 64 pages.
        grow = "(loop (br_if 0 (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))"
        more = "(if (i32.ne (memory.size) (i32.const 64)) (then (loop (br 0))))"
        self.stopped(f"{grow} {more} unreachable", "plugin-trapped")

    def test_a_flood_of_host_calls(self) -> None:
        self.stopped("(loop (drop (call $now)) (br 0))", "too-many-host-calls")

    def test_a_capability_that_fails_is_no_result(self) -> None:
        class Broken(SystemClock):
            calls = 0

            def now(self) -> int:
                self.calls += 1
                if self.calls == 1:
                    raise SystemExit("hunter2")
                return super().now()

        with self.assertLogs("procore_auth"):
            self.stopped("(drop (call $now)) (loop (br 0))", "host-panicked", Broken())


class Loading(unittest.TestCase):
    def refused(self, change: Callable[[str], str], why: str) -> None:
        with self.assertRaisesRegex(LoadError, why):
            Plugin(component("", change))

    def test_what_is_not_the_contract_is_refused(self) -> None:
        self.refused(lambda text: text.replace("procore:auth/clock@0.1.0", "wasi:clocks/wall-clock@0.2.0"), "does not lend")
        self.refused(lambda text: text.replace("procore:auth/clock@0.1.0", "procore:auth/files@0.1.0"), "does not lend")
        self.refused(lambda text: text.replace("@0.1.0", "@0.2.0"), "version 0.2.0")
        self.refused(lambda text: text.replace("procore:auth/advice@", "procore:auth/other@"), "does not export advice")
        with self.assertRaisesRegex(LoadError, "not a WebAssembly component"):
            Plugin(b"\0asm")

    def test_a_later_patch_version_is_welcome(self) -> None:
        Plugin(component("", lambda text: text.replace("@0.1.0", "@0.1.7")))

    def test_a_pinned_digest(self) -> None:
        wasm = component("")
        loaded = Plugin(wasm)
        Plugin(wasm, sha256=loaded.sha256.upper())
        with self.assertRaisesRegex(LoadError, "pinned"):
            Plugin(wasm, sha256="0" * 64)


class Turns(unittest.TestCase):
    """One thread at a time is in the binding, and nobody waits for a capability of another's."""

    def test_a_call_waits_for_its_turn(self) -> None:
        called = threading.Event()

        class Noting(SystemClock):
            def now(self) -> int:
                called.set()
                return super().now()

        call = Call(plugin("(drop (call $now))"), lent(World(), Noting()), "auth", "status", deadline=60)
        with turn:
            thread = threading.Thread(target=call.run)
            thread.start()
            self.assertFalse(called.wait(0.2))
        thread.join(30)
        self.assertTrue(called.is_set())

    def test_a_capability_that_waits_keeps_no_other_call(self) -> None:
        entered, released = threading.Event(), threading.Event()

        class Waiting(SystemClock):
            def now(self) -> int:
                entered.set()
                released.wait(30)
                return super().now()

        loaded = plugin("(drop (call $now))")
        thread = threading.Thread(target=Call(loaded, lent(World(), Waiting()), "auth", "status", deadline=60).run)
        thread.start()
        self.assertTrue(entered.wait(30))
        Call(loaded, lent(World()), "auth", "status", deadline=60).run()
        self.assertTrue(thread.is_alive())
        released.set()
        thread.join(30)
