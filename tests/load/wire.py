"""HTTP as spare as it gets: a measured server must not wait for who measures it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit


class Connection:
    """One connection that asks and hears; opened again when the server has closed it."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = parts.hostname or "", parts.port or 80
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        status, _, body = await self.ask(path)
        return status, json.loads(body)

    async def ask(self, path: str, body: bytes | None = None) -> tuple[int, float, bytes]:
        """Status, seconds to wait if told, and body of an answer; POST if a body is sent."""
        status, head = await self._ask(path, body)
        assert self.streams is not None
        answer = await self.streams[0].readexactly(int(_header(head, "content-length") or 0))
        return status, float(_header(head, "retry-after") or 0), answer

    async def lines(self, path: str) -> AsyncIterator[bytes]:
        """The lines of an answer that does not end."""
        status, _ = await self._ask(path)
        assert status == 200
        assert self.streams is not None
        while line := await self.streams[0].readline():
            yield line

    def close(self) -> None:
        """Hang up."""
        if self.streams is not None:
            self.streams[1].close()
            self.streams = None

    async def _ask(self, path: str, body: bytes | None = None) -> tuple[int, str]:
        for again in (True, False):
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.host, self.port)
            reader, writer = self.streams
            writer.write(self._request(path, body))
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                break
            except (asyncio.IncompleteReadError, ConnectionError):
                self.close()
                if not again:
                    raise
        return int(head.split(" ", 2)[1]), head

    def _request(self, path: str, body: bytes | None) -> bytes:
        host = f"Host: {self.host}:{self.port}\r\n"
        if body is None:
            return f"GET {path} HTTP/1.1\r\n{host}\r\n".encode()
        sent = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        return f"POST {path} HTTP/1.1\r\n{host}{sent}\r\n".encode() + body


def _header(head: str, name: str) -> str:
    return head.partition(f"\r\n{name}: ")[2].partition("\r\n")[0]
