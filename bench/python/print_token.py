"""Prints the access token from a token file, as scripts do that call Procore with requests."""

import json
import sys

import requests  # noqa: F401  (what such a script calls Procore with)

with open(sys.argv[1]) as file:
    print(json.load(file)["access_token"])
