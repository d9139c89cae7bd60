"""``python -m procore_auth token|call|status``: the package as a command.

Exit codes are those of `procore-auth`.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from .config import Config
from .connection import Connection
from .errors import AuthError
from .plugin import LoadError, Plugin

_EXIT_CODES = {
    "invalid-input": 1,
    "configuration": 3,
    "sign-in-required": 4,
    "unavailable": 5,
    "busy": 6,
    "storage": 7,
    "unknown-outcome": 8,
    "internal": 9,
}
_HEALTH = {"healthy": 0, "unverified": 11, "at-risk": 11, "unavailable": 5, "misconfigured": 3, "sign-in-required": 4}
_PARKED = 10
_API_REFUSED = 22
_INTERRUPTED = 130
_TERMINATED = 143


def main(arguments: list[str] | None = None) -> int:
    """Runs the command, and returns its exit code."""
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, _terminate)
    verb: Callable[[Connection, argparse.Namespace], int] = chosen.verb
    try:
        plugin = Plugin.from_file(chosen.plugin) if chosen.plugin else None
        return verb(Config.load(chosen.config).open(chosen.connection, plugin=plugin), chosen)
    except AuthError as error:
        _explain(error)
        return _EXIT_CODES[error.kind]
    except LoadError as error:
        print(f"error: {error}", file=sys.stderr)
        return _EXIT_CODES["configuration"]
    except (KeyboardInterrupt, _Terminated) as stop:
        # The interpreter ends after the plugin's calls, which are on threads of their own.
        print("stopping: a refresh that runs is finished first", file=sys.stderr, flush=True)
        return _TERMINATED if isinstance(stop, _Terminated) else _INTERRUPTED


class _Terminated(BaseException):
    """SIGTERM came."""


def _terminate(*_: object) -> None:
    raise _Terminated


def _token(connection: Connection, _: argparse.Namespace) -> int:
    print(connection.access_token().bearer.expose())
    return 0


def _call(connection: Connection, chosen: argparse.Namespace) -> int:
    body = sys.stdin.buffer.read() if chosen.data == "-" else (chosen.data or "").encode()
    headers = [("content-type", "application/json")] if body else []
    response = connection.request(chosen.method, chosen.path, headers=headers, body=body)
    sys.stdout.buffer.write(response.body + b"\n")
    if response.status < 400:
        return 0
    print(f"status {response.status}", file=sys.stderr)
    return _API_REFUSED


def _status(connection: Connection, _: argparse.Namespace) -> int:
    status = connection.status()
    who = f" as {status.identity.name}, {status.identity.login}" if status.identity else ""
    print(f"{status.health}{who}")
    if status.health == "healthy" and status.parked + status.undecided:
        return _PARKED
    return _HEALTH[status.health]


def _explain(error: AuthError) -> None:
    print(f"error: {error}\n  cause: {error.cause}\n  remedy: {error.remedy}", file=sys.stderr)
    for fact in error.diagnosis.evidence:
        print(f"  evidence: {fact}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--config", type=Path, help="the configuration file of procore-auth (or PROCORE_AUTH_CONFIG)")
    common.add_argument("--connection", metavar="NAME", help="one of its connections, where it has several")
    common.add_argument("--plugin", type=Path, metavar="PATH", help="procore-auth.wasm (or PROCORE_AUTH_PLUGIN)")
    parser = argparse.ArgumentParser(prog="python -m procore_auth", description="Stay signed in to Procore.")
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    token = verbs.add_parser("token", parents=[common], help="print an access token that is good now")
    token.set_defaults(verb=_token)
    call = verbs.add_parser("call", parents=[common], help="call Procore's API, and print what it answers")
    call.add_argument("path", help="an absolute path, such as /rest/v1.0/me")
    call.add_argument("--method", default="GET")
    call.add_argument("--data", help="a JSON body; - reads standard input")
    call.set_defaults(verb=_call)
    status = verbs.add_parser("status", parents=[common], help="tell how the connection is; sends nothing")
    status.set_defaults(verb=_status)
    return parser


if __name__ == "__main__":
    sys.exit(main())
