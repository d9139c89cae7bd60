"""Calls the API from many threads that share one connection: `python threads.py THREADS CALLS`. Says what was answered."""

import sys
from concurrent.futures import ThreadPoolExecutor

from procore_auth import Connection

threads, calls = map(int, sys.argv[1:])
connection = Connection.from_config()


def call(_: int) -> int:
    return connection.request("GET", "/rest/v1.0/me").status


with ThreadPoolExecutor(threads) as pool:
    statuses = list(pool.map(call, range(threads * calls)))
print(f"{len(statuses)} answers: {', '.join(sorted(map(str, set(statuses))))}")
