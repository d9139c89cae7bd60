import unittest

from procore_auth.egress import API_HOSTS, LOGIN_HOSTS, Egress, Refused, permit_headers

PRODUCTION = Egress("production")


def code(url: str, method: str = "GET", *, uses_secret: bool = False) -> str:
    try:
        return PRODUCTION.permit(method, url, uses_secret).destination
    except Refused as refused:
        return refused.code


class Urls(unittest.TestCase):
    def test_its_own_origins_are_permitted(self) -> None:
        for url, destination in {
            "https://login.procore.com/oauth/token": "login",
            "https://login.procore.com": "login",
            "https://login.procore.com?a=b": "login",
            "https://api.procore.com/rest/v1.0/me?a=b%20c": "api",
            "https://api.procore.com:443/": "api",
            "HTTPS://API.Procore.COM/": "api",
            "https://api.procore.com/a@b:c/..//d": "api",
        }.items():
            self.assertEqual(code(url), destination, url)

    def test_what_is_sent_is_what_was_checked(self) -> None:
        permit = PRODUCTION.permit("GET", "HTTPS://API.Procore.COM:443?a=b", False)
        self.assertEqual((permit.host, permit.target), ("api.procore.com", "/?a=b"))

    def test_other_origins_are_refused(self) -> None:
        for url in (
            "https://example.com/",
            "https://api.procore.com.example.com/",
            "https://notapi.procore.com/",
            "https://procore.com/",
            "https://sandbox.procore.com/",
            "https://login-sandbox.procore.com/oauth/token",
            "https://api.procore.com./",
            "https://api.procore.com:8443/",
            "https://api.procore.com:0443/",
            "https://api.procore.com:/",
            "http://api.procore.com/",
            "ftp://api.procore.com/",
            "https://user@api.procore.com/",
            "https://api.procore.com@example.com/",
            "https://@api.procore.com/",
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://[::1]/",
        ):
            self.assertEqual(code(url), "origin-not-permitted", url)

    def test_what_parsers_read_differently_is_refused(self) -> None:
        for url in (
            "",
            "/rest/v1.0/me",
            "//api.procore.com/",
            "https:/api.procore.com/",
            "https:api.procore.com",
            "https:///api.procore.com/",
            "https://api.procore.com\\@example.com/",
            "https://api.procore.com/\\..",
            "https://api%2eprocore.com/",
            "https://ａpi.procore.com/",
            "https://api.procore.com/ä",
            "https://api.procore.com/ b",
            "https://api.procore.com/\tb",
            "https://api.procore.com/\r\nHost: example.com",
            "https://api.procore.com/\0",
            " https://api.procore.com/",
            "https://api.procore.com/\n",
            "https://api.procore.com/#a",
            "javascript://api.procore.com/",
        ):
            self.assertIn(code(url), ("invalid-request", "origin-not-permitted"), url)

    def test_methods(self) -> None:
        for method in ("get", "CONNECT", "TRACE", "GET ", "", "GET / HTTP/1.1\r\nx:"):
            self.assertEqual(code("https://api.procore.com/", method), "invalid-request", method)

    def test_the_secret_goes_to_the_token_endpoint_alone(self) -> None:
        self.assertEqual(code("https://login.procore.com/oauth/token", "POST", uses_secret=True), "login")
        self.assertEqual(code("https://login.procore.com/oauth/revoke", "POST", uses_secret=True), "login")
        for url in (
            "https://api.procore.com/oauth/token",
            "https://login.procore.com/oauth/authorize",
            "https://login.procore.com/oauth/token?a=b",
            "https://login.procore.com/oauth/token/",
            "https://login.procore.com/",
        ):
            self.assertEqual(code(url, "POST", uses_secret=True), "secret-not-permitted", url)
        self.assertEqual(code("https://login.procore.com/oauth/token", "PUT", uses_secret=True), "secret-not-permitted")

    def test_environments_are_apart(self) -> None:
        for environment in LOGIN_HOSTS:
            egress = Egress(environment)
            own = {LOGIN_HOSTS[environment], *API_HOSTS[environment]}
            for host in {*LOGIN_HOSTS.values(), *(host for hosts in API_HOSTS.values() for host in hosts)}:
                permitted = True
                try:
                    egress.permit("GET", f"https://{host}/", False)
                except Refused:
                    permitted = False
                self.assertEqual(permitted, host in own, (environment, host))

    def test_a_diagnosis_may_ask_the_others_about_a_token(self) -> None:
        probing = Egress("production", token_info_probes=True)
        url = "https://login-sandbox.procore.com/oauth/token/info"
        self.assertEqual(probing.permit("GET", url, False).destination, "token-info-probe")
        for method, other in (("POST", url), ("GET", f"{url}?a=b"), ("GET", "https://login-sandbox.procore.com/oauth/token")):
            with self.assertRaises(Refused):
                probing.permit(method, other, False)

    def test_a_refusal_repeats_nothing(self) -> None:
        with self.assertRaises(Refused) as raised:
            PRODUCTION.permit("GET", "https://example.com/hunter2", False)
        self.assertNotIn("hunter2", str(raised.exception))


class Headers(unittest.TestCase):
    def test_what_the_plugin_sets(self) -> None:
        given = [("Authorization", "Bearer a"), ("Accept", "a\tb c")]
        self.assertEqual(permit_headers(given), [("authorization", "Bearer a"), ("accept", "a\tb c")])

    def test_what_is_the_hosts_or_breaks_out(self) -> None:
        for header in (
            ("Host", "a"),
            ("HOST", "a"),
            ("content-length", "0"),
            ("Transfer-Encoding", "chunked"),
            ("connection", "a"),
            ("Proxy-Authorization", "a"),
            ("te", "a"),
            ("upgrade", "a"),
            ("expect", "a"),
            ("user-agent", "a"),
            ("", "a"),
            ("a b", "a"),
            ("a:", "a"),
            ("a\n", "a"),
            ("ä", "a"),
            ("a", "a\r\nb: c"),
            ("a", "a\n"),
            ("a", "a\0"),
            ("a", "ä"),
            ("a", "\x7f"),
        ):
            with self.assertRaises(Refused, msg=header):
                permit_headers([header])

    def test_one_authorization(self) -> None:
        with self.assertRaises(Refused):
            permit_headers([("authorization", "a"), ("Authorization", "b")])
