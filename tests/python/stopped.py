"""An agent that is told to end during a refresh: `python stopped.py` as Python does it, `python stopped.py handled` as the README does it."""

import signal
import sys

from procore_auth import Connection


def stop(*_: object) -> None:
    # A second one would cut off what the first waits for.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("stopping", flush=True)
    sys.exit(143)


if "handled" in sys.argv:
    signal.signal(signal.SIGTERM, stop)
Connection.from_config().access_token()
