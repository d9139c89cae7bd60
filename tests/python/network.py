"""Sends one permitted request as the plugin would, and says what came of it: `python network.py METHOD PATH MILLISECONDS REPLY_SIZE`."""

import sys
from dataclasses import replace

from procore_auth import Config
from procore_auth.binding import record
from procore_auth.capabilities import Capabilities

method, path, timeout, reply_size = sys.argv[1:]
lent = Config.load().open()._lent
lent = replace(lent, limits=replace(lent.limits, reply_size=int(reply_size)))
url = f"https://sandbox.procore.com{path}"
asked = record(method=method, url=url, headers=[], body=None, timeout=int(timeout))
answer = Capabilities(lent, 60, probing=False).send(asked)
shown = answer.payload
print(f"err {shown.code} {shown.sent}" if answer.tag == "err" else f"ok {shown.status}")
