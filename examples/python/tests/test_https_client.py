"""The client against servers that behave badly, in plain HTTP on this machine."""

import os
import socket
import tempfile
import threading
import time
import traceback
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from procore_auth import ConnectTo, HttpFailure, HttpReply, HttpRequest, HttpsClient, Misconfigured

HOST = "api.procore.com"
GET = HttpRequest("GET", HOST, "/rest/v1.0/me?a=b", [("accept", "*/*")], b"")
POST = HttpRequest("POST", HOST, "/oauth/token", [], b"a=b")
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Takes connections one after the other, reads a request's head, and behaves as told."""

    def __init__(self, behave: Callable[[socket.socket], None]) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.received: list[bytes] = []
        self.behave = behave
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                head = b""
                while b"\r\n\r\n" not in head and (piece := connection.recv(65536)):
                    head += piece
                self.received.append(head)
                try:
                    self.behave(connection)
                except OSError:
                    continue

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()


def says(reply: bytes) -> Callable[[socket.socket], None]:
    return lambda connection: connection.sendall(reply)


def drips(start: bytes, drop: bytes) -> Callable[[socket.socket], None]:
    """Never stops, and never waits long."""

    def behave(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(drop)
            time.sleep(0.02)

    return behave


class Client(unittest.TestCase):
    def send(
        self, behave: Callable[[socket.socket], None], request: HttpRequest = GET, *, timeout: float = 20, size: int = 1000
    ) -> HttpReply:
        self.server = Server(behave)
        self.addCleanup(self.server.close)
        client = HttpsClient(connect_to=[ConnectTo.parse(f"{HOST}:443=http://{self.server.address}")])
        return client.send(request, timeout, size)

    def fails(self, behave: Callable[[socket.socket], None], code: str, *, timeout: float = 20) -> None:
        begun = time.monotonic()
        with self.assertRaises(HttpFailure) as raised:
            self.send(behave, timeout=timeout)
        self.assertEqual((raised.exception.code, raised.exception.sent), (code, True))
        self.assertLess(time.monotonic() - begun, timeout + 5)

    def test_what_is_written(self) -> None:
        reply = self.send(says(OK), POST)
        self.assertEqual((reply.status, reply.body), (200, b"ok"))
        lines = self.server.received[0].lower().split(b"\r\n")
        self.assertEqual(lines[0], b"post /oauth/token http/1.1")
        self.assertEqual([line for line in lines if line.startswith(b"host:")], [b"host: api.procore.com"])
        self.assertEqual([line for line in lines if line.startswith(b"content-length:")], [b"content-length: 3"])

    def test_nothing_is_followed_and_nothing_repeated(self) -> None:
        reply = self.send(says(b"HTTP/1.1 302 Found\r\nlocation: https://example.com/\r\ncontent-length: 0\r\n\r\n"))
        self.assertEqual((reply.status, reply.headers[0]), (302, ("location", "https://example.com/")))
        self.assertEqual(len(self.server.received), 1)

    def test_nothing_is_decompressed(self) -> None:
        packed = b"\x1f\x8b\x08 a bomb, perhaps"
        head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
        self.assertEqual(self.send(says(head + packed)).body, packed)

    def test_a_drip_of_bytes_ends_with_the_request(self) -> None:
        self.fails(drips(b"HTTP/1.1 200 OK\r\nx: ", b"a"), "timeout", timeout=2)
        self.fails(drips(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", b"a"), "timeout", timeout=2)
        self.fails(drips(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"1\r\na\r\n"), "timeout", timeout=2)

    def test_a_reply_without_end(self) -> None:
        chunk = b"400\r\n" + b"a" * 1024 + b"\r\n"
        self.fails(drips(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", chunk), "reply-too-large")
        self.fails(says(b"HTTP/1.1 200 OK\r\ncontent-length: 1001\r\n\r\n"), "reply-too-large")
        self.fails(drips(b"HTTP/1.1 200 OK\r\n", b"x: " + b"a" * 4000 + b"\r\n"), "invalid-reply")

    def test_what_is_no_whole_reply(self) -> None:
        self.fails(lambda _: None, "connection-closed")
        self.fails(says(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok"), "connection-closed")
        self.fails(says(b'{"access_token":"hunter2"}\r\n\r\n'), "invalid-reply")

    def test_a_reply_that_is_no_http_is_not_repeated(self) -> None:
        with self.assertRaises(HttpFailure) as raised:
            self.send(says(b'{"access_token":"hunter2"}\r\n\r\n'))
        self.assertNotIn("hunter2", str(raised.exception))
        self.assertIsNone(raised.exception.__cause__)

    def test_nobody_listens(self) -> None:
        server = Server(says(OK))
        server.close()
        client = HttpsClient(connect_to=[ConnectTo.parse(f"{HOST}:443={server.address}")])
        with self.assertRaises(HttpFailure) as raised:
            client.send(POST, 20, 1000)
        self.assertEqual((raised.exception.code, raised.exception.sent), ("connect", False))

    def test_no_tls_is_no_way_to_send(self) -> None:
        server = Server(says(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
        self.addCleanup(server.close)
        client = HttpsClient(connect_to=[ConnectTo.parse(f"{HOST}:443={server.address}")], connect_timeout=2)
        with self.assertRaises(HttpFailure) as raised:
            client.send(POST, 20, 1000)
        self.assertIn(raised.exception.code, ("tls", "timeout"))
        self.assertFalse(raised.exception.sent)

    def test_a_proxy_that_refuses(self) -> None:
        server = Server(says(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"))
        self.addCleanup(server.close)
        with mock.patch.dict(os.environ, {"https_proxy": f"http://{server.address}", "no_proxy": ""}):
            with self.assertRaises(HttpFailure) as raised:
                HttpsClient().send(POST, 20, 1000)
        self.assertEqual((raised.exception.code, raised.exception.sent), ("proxy", False))
        self.assertTrue(server.received[0].startswith(b"CONNECT api.procore.com:443 HTTP/1.1\r\n"))
        self.assertNotIn(b"a=b", server.received[0])


class OfEnvironment(unittest.TestCase):
    def proxy(self, written: str) -> Any:
        with mock.patch.dict(os.environ, {"https_proxy": written, "no_proxy": ""}):
            return HttpsClient()._proxy

    def test_what_is_no_proxy_is_a_mistake_of_the_configuration_and_not_shown(self) -> None:
        for written in (
            "http://user:hunter2@proxy.example.com:99999",
            "http://user:hunter2@[::1",
            "gopher://user:hunter2@proxy.example.com",
            "socks5://user:hunter2@proxy.example.com",
            "http://user:hunter2@",
            "http://user:hunter2@proxy.example.com:0",
            "http://user:hunter2@proxy.example.com:port",
            "http://user:hunter2@pröxy.example.com",
            "http://user:hunter2@a b",
        ):
            with self.subTest(written), self.assertRaises(Misconfigured) as raised:
                self.proxy(written)
            error = raised.exception
            self.assertEqual(error.code, "network")
            self.assertIn("HTTPS_PROXY", error.summary)
            told = "".join(traceback.format_exception(error)) + str(error.diagnosis)
            self.assertNotIn("hunter2", told)

    def test_what_is_one(self) -> None:
        for written, address in (
            ("proxy.example.com:3128", (b"http", b"proxy.example.com", 3128)),
            ("http://proxy.example.com", (b"http", b"proxy.example.com", 80)),
            ("https://proxy.example.com", (b"https", b"proxy.example.com", 443)),
            ("http://[::1]:3128", (b"http", b"::1", 3128)),
        ):
            url = self.proxy(written).url
            self.assertEqual((url.scheme, url.host, url.port), address)
        self.assertEqual(self.proxy("http://us%40er:p%3Aw@proxy.example.com").auth, (b"us@er", b"p:w"))

    def test_an_authority_that_is_no_file_is_refused(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            pipe = Path(folder) / "pipe"
            os.mkfifo(pipe)
            for path in (pipe, "/dev/zero", folder):
                with self.assertRaises(OSError):
                    HttpsClient(extra_ca=path)
