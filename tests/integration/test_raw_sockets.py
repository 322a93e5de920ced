"""What no client library sends, on a real socket: refused at once, and the next one is served."""

import socket
import threading
from collections.abc import Iterator

import pytest

from meshtune.backend.guards.limits import BODY_MAX_BYTES
from meshtune.backend.serve import server
from meshtune.backend.settings import Settings

PATIENCE_S = 60.0
JSON = b"content-type: application/json\r\n"
CHUNK = b"10000\r\n" + b"a" * 0x10000 + b"\r\n"


@pytest.fixture
def port(settings: Settings) -> Iterator[int]:
    """Of the API, served as people start it, but in a thread."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()  # whoever comes before the server is ready waits
        running = server(settings)
        thread = threading.Thread(target=running.run, args=([listening],))
        thread.start()
        yield int(listening.getsockname()[1])
        running.should_exit = True
        thread.join()


def answer(port: int, *parts: bytes) -> bytes:
    """All that comes back until the other side closes; it may close before it has heard all."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as wire:
        heard = b""
        try:
            for part in parts:
                wire.sendall(part)
            while piece := wire.recv(65536):
                heard += piece
        except ConnectionError:
            pass
        return heard


def asked(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    head = b"".join(header + b"\r\n" for header in headers)
    return line + b" HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n" + head + b"\r\n" + body


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        pytest.param(
            (
                asked(
                    b"POST /runs", b"content-type: application/json", b"transfer-encoding: chunked"
                ),
                *[CHUNK] * (BODY_MAX_BYTES // 0x10000 + 1),
                b"0\r\n\r\n",
            ),
            413,
            id="chunks over the limit",
        ),
        pytest.param(
            (asked(b"POST /runs", b"transfer-encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),),
            400,
            id="a chunk whose length is no number",
        ),
        pytest.param(
            (asked(b"POST /runs", b"content-length: 4", b"content-length: 5", body=b"{}{}{}"),),
            400,
            id="two lengths",
        ),
        pytest.param(
            (asked(b"POST /runs", b"content-length: -4", body=b"{}"),), 400, id="less than nothing"
        ),
        pytest.param(
            (asked(b"GET /runs", b"x-request-id: a\rset-cookie: x=1"),),
            400,
            id="a header in a header",
        ),
        pytest.param((asked(b"GET /runs", b"x-a: a\0b"),), 400, id="a zero in a header"),
        pytest.param((asked(b"GET /runs", b"host: evil.example"),), 400, id="two hosts"),
        pytest.param((b"GET /runs HTTP/1.1\r\n\r\n",), 400, id="no host"),
        pytest.param((asked(b"GET /runs", b"x-a: " + b"a" * 10**6),), 400, id="a huge header"),
        pytest.param((b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",), 400, id="another protocol"),
        pytest.param(
            (asked(b"GET /runs/1%0d%0aset-cookie:%20x=1"),), 422, id="a line end in an address"
        ),
    ],
)
def test_what_breaks_the_rules_is_refused_and_hurts_nobody(
    port: int, parts: tuple[bytes, ...], status: int
) -> None:
    heard = answer(port, *parts)
    assert heard.startswith(b"HTTP/1.1 %d " % status), heard[:200]
    assert b"set-cookie" not in heard.lower().partition(b"\r\n\r\n")[0]
    assert answer(port, asked(b"GET /health/live")).startswith(b"HTTP/1.1 200 ")


def test_half_a_request_holds_up_nobody(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as half:
        half.sendall(b"GET /runs HTTP/1.1\r\nhost: 127.")
        assert answer(port, asked(b"GET /runs")).startswith(b"HTTP/1.1 200 ")


def test_the_mark_of_a_caller_comes_back_only_as_a_plain_word(port: int) -> None:
    plain = answer(port, asked(b"GET /health/live", b"x-request-id: word-1"))
    assert b"word-1" in plain
    odd = answer(port, asked(b"GET /health/live", b"x-request-id: a\xff<b>; set-cookie: x=1"))
    assert odd.startswith(b"HTTP/1.1 200 ")
    assert b"set-cookie" not in odd
