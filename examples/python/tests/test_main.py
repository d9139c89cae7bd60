"""The exit codes are the tool's: `host/src/cli/exit.rs`."""

import io
import unittest
from contextlib import redirect_stderr, redirect_stdout
from typing import Any
from unittest import mock

from procore_auth import Diagnosis, LoadError, Response, Status
from procore_auth.__main__ import main
from procore_auth.errors import _KINDS


def status(health: Any, parked: int = 0, undecided: int = 0) -> Status:
    return Status(health, None, None, None, "", 0, None, parked, undecided)


class Ends(unittest.TestCase):
    def setUp(self) -> None:
        patched = mock.patch("signal.signal")
        patched.start()
        self.addCleanup(patched.stop)

    def run_with(self, connection: Any, *arguments: str) -> tuple[int, bytes, str]:
        out, errors = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        with mock.patch("procore_auth.config.Config.load") as load, redirect_stdout(out), redirect_stderr(errors):
            load.return_value.open.return_value = connection
            try:
                code = main(list(arguments))
            except SystemExit as end:
                code = int(end.code or 0)
        out.flush()
        return code, out.buffer.getvalue(), errors.getvalue()  # type: ignore[attr-defined]

    def test_health(self) -> None:
        for known, code in (
            (status("healthy"), 0),
            (status("healthy", parked=1), 10),
            (status("healthy", undecided=1), 10),
            (status("unverified"), 11),
            (status("at-risk", parked=1), 11),
            (status("unavailable"), 5),
            (status("misconfigured"), 3),
            (status("sign-in-required"), 4),
            (status("a later one"), 9),
        ):
            connection = mock.Mock(status=lambda known=known: known)
            self.assertEqual(self.run_with(connection, "status")[0], code, known)

    def test_errors(self) -> None:
        codes = {
            "invalid-input": 1,
            "configuration": 3,
            "sign-in-required": 4,
            "unavailable": 5,
            "busy": 6,
            "storage": 7,
            "unknown-outcome": 8,
            "internal": 9,
        }
        raised: list[tuple[BaseException, int]] = [(kind(Diagnosis("", "", "", "", [])), codes[name]) for name, kind in _KINDS.items()]
        for error, code in [*raised, (LoadError("none"), 3), (ValueError("hunter2"), 9), (KeyboardInterrupt(), 130)]:
            told = self.run_with(mock.Mock(access_token=mock.Mock(side_effect=error)), "token")
            self.assertEqual(told[0], code, error)
            self.assertNotIn("hunter2", told[2])

    def test_the_command_line(self) -> None:
        for arguments in (("call", "https://example.com/"), ("call", "rest/v1.0/me"), ("call",), ("other",), ()):
            self.assertEqual(self.run_with(mock.Mock(), *arguments)[0], 2, arguments)

    def test_answers_are_written_as_they_are(self) -> None:
        for code, end in ((200, 0), (302, 0), (399, 0), (400, 22), (404, 22), (503, 22)):
            answered = Response(code, [], b"\0\xff", 1, None, None)
            told = self.run_with(mock.Mock(request=mock.Mock(return_value=answered)), "call", "/rest/v1.0/me")
            self.assertEqual(told[:2], (end, b"\0\xff"))
