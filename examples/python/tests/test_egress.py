"""The cases are those of every host: `tests/conformance/egress.json`."""

import json
import unittest
from pathlib import Path
from typing import Any

from procore_auth.egress import Egress, Refused, permit_headers

CASES = json.loads((Path(__file__).parents[3] / "tests/conformance/egress.json").read_text())


class Conformance(unittest.TestCase):
    def test_requests_are_as_the_cases_say(self) -> None:
        self.assertGreater(len(CASES["requests"]), 150)
        for case in CASES["requests"]:
            with self.subTest(case):
                self.assertEqual(told_of_request(case), {key: case[key] for key in ("code", "destination", "uri") if key in case})

    def test_headers_are_as_the_cases_say(self) -> None:
        self.assertGreater(len(CASES["headers"]), 40)
        for case in CASES["headers"]:
            with self.subTest(case):
                self.assertEqual(told_of_headers(case), {key: case[key] for key in ("code", "permitted") if key in case})

    def test_a_refusal_repeats_nothing(self) -> None:
        with self.assertRaises(Refused) as raised:
            Egress("production").permit("GET", "https://example.com/hunter2", False)
        self.assertNotIn("hunter2", str(raised.exception))

    def test_a_flood_of_headers(self) -> None:
        with self.assertRaises(Refused):
            permit_headers((f"a{number}", "b") for number in range(40_000))


def told_of_request(case: dict[str, Any]) -> dict[str, str]:
    egress = Egress(case.get("environment", "production"), token_info_probes=case.get("probing", False))
    method = case.get("method", "GET")
    try:
        permit = egress.permit(method, case["url"], case.get("uses_secret", False))
    except Refused as refused:
        return {"code": refused.code}
    assert permit.method == method
    return {"destination": permit.destination, "uri": f"https://{permit.host}{permit.target}"}


def told_of_headers(case: dict[str, Any]) -> dict[str, Any]:
    try:
        permitted = permit_headers((name, value) for name, value in case["headers"])
    except Refused as refused:
        return {"code": refused.code}
    return {"permitted": [list(header) for header in permitted]}
