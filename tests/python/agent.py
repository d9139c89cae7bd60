"""An agent that lives long: for each line `NUMBER` of its input it opens its connection anew, and says which token it got.

Its log is as talkative as can be; what it says is searched for secrets.
"""

import hashlib
import logging
import sys

from procore_auth import Config, Plugin

logging.basicConfig(level=logging.DEBUG)
config, plugin = Config.load(), Plugin.default()
print("ready", flush=True)
for line in sys.stdin:
    token = config.open(plugin=plugin).access_token()
    digest = hashlib.sha256(token.bearer.expose().encode()).hexdigest()
    print(f"round {line.strip()}: {digest} {token!r}", flush=True)
