"""One call of the plugin: a fresh instance, on a thread of its own."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

import wasmtime
from wasmtime import component

from . import errors, stopped
from .binding import turn
from .capabilities import Capabilities
from .lent import Lent
from .plugin import LoadError, Plugin
from .stopped import Stopped

_log = logging.getLogger("procore_auth")


class Call:
    """A call that is about to be made."""

    def __init__(self, plugin: Plugin, lent: Lent, interface: str, function: str, *, deadline: float, probing: bool = False) -> None:
        self._plugin = plugin
        self._lent = lent
        self._interface = interface
        self._function = function
        self._patience = deadline + lent.limits.grace
        self._capabilities = Capabilities(lent, deadline, probing=probing)
        self._stopped: Stopped | None = None
        self._failed: BaseException | None = None

    @property
    def tokens_in_doubt(self) -> bool:
        """Whether a token from before the call may be no good now."""
        return self._capabilities.tokens_in_doubt

    def run(self, *arguments: Any) -> Any:
        """Makes the call, and returns its result as the binding gives it; raises :class:`~procore_auth.AuthError`.

        It runs to its end even where the caller gives up, be it by Ctrl-C: no refresh is cut in half. The interpreter does not end
        before it.
        """
        outcome: Future[Any] = Future()
        threading.Thread(target=self._into, args=(outcome, arguments), name="procore-auth-call").start()
        try:
            return outcome.result(self._patience)
        except FutureTimeout:
            if outcome.done():
                raise
            error = stopped.out_of_time()
            self._lent.faults.note(self._function, error)
            raise error from None

    def _into(self, outcome: Future[Any], arguments: tuple[Any, ...]) -> None:
        try:
            outcome.set_result(self._execute(arguments))
        except BaseException as error:
            outcome.set_exception(error)

    def _execute(self, arguments: tuple[Any, ...]) -> Any:
        try:
            with turn:
                result = self._call(arguments)
        except errors.Internal as error:
            self._lent.faults.note(self._function, error)
            raise
        finally:
            # Frees the lock before anyone hears of the result.
            self._capabilities.end(was_stopped=self._was_stopped)
        self._lent.faults.note_success(self._function)
        return _unwrapped(result)

    @property
    def _was_stopped(self) -> bool:
        return self._stopped is not None or self._failed is not None

    def _call(self, arguments: tuple[Any, ...]) -> Any:
        limits = self._lent.limits
        store = wasmtime.Store(self._plugin.engine)
        store.set_limits(memory_size=limits.memory, table_elements=1 << 20, instances=64, tables=64, memories=8)
        store.set_fuel(limits.fuel)
        linker = self._linker()
        try:
            instance = linker.instantiate(store, self._plugin.component)
            function = instance.get_func(store, self._plugin.function(self._interface, self._function))
            if function is None:
                raise LoadError("not a function")
            return function(store, *arguments)
        except (wasmtime.WasmtimeError, wasmtime.Trap, LoadError) as error:
            raise self._to_error(error, is_out_of_fuel=store.get_fuel() == 0) from None
        finally:
            store.close()
            linker.close()

    def _linker(self) -> component.Linker:
        linker = component.Linker(self._plugin.engine)
        with linker.root() as root:
            for name in self._plugin.component.type.imports(self._plugin.engine):
                functions = self._capabilities.functions()[name.partition("/")[2].partition("@")[0]]
                with root.add_instance(name) as instance:
                    for function, body in functions.items():
                        instance.add_func(function, self._lend(body))
        return linker

    def _lend(self, body: Callable[..., Any]) -> Callable[..., Any]:
        """Makes a function of the host's that counts, gives the turn up while it works, and ends the call by a trap alone."""

        def lent(_: Any, *arguments: Any) -> Any:
            turn.release()
            try:
                self._capabilities.enter()
                return body(*arguments)
            except Stopped as reason:
                self._stopped = reason
            except BaseException as error:
                # Nothing else may cross the binding: it would take the result for one, and there is none.
                _log.exception("a capability failed")
                self._failed = error
            finally:
                turn.acquire()
            raise wasmtime.WasmtimeError("the host ended the call")

        return lent

    def _to_error(self, error: Exception, *, is_out_of_fuel: bool) -> errors.Internal:
        if self._failed is not None:
            return stopped.host_failed(self._failed)
        if self._stopped is None:
            self._stopped = stopped.OUT_OF_TIME if is_out_of_fuel else stopped.TRAPPED
            _log.debug("the plugin was stopped: %s", type(error).__name__)
        return self._stopped.to_error()


def _unwrapped(result: Any) -> Any:
    """Takes a result apart, whose cases the binding tags only where they would be confused."""
    if isinstance(result, component.Variant) and result.tag in ("ok", "err"):
        if result.tag == "ok":
            return result.payload
        raise errors.from_record(result.payload)
    if hasattr(result, "diagnosis") and hasattr(result, "kind"):
        raise errors.from_record(result)
    return result
