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
        status, length = await self._ask(path)
        assert self.streams is not None
        body = await self.streams[0].readexactly(length)
        return status, json.loads(body)

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

    async def _ask(self, path: str) -> tuple[int, int]:
        for again in (True, False):
            if self.streams is None:
                self.streams = await asyncio.open_connection(self.host, self.port)
            reader, writer = self.streams
            request = f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n\r\n"
            writer.write(request.encode())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                break
            except (asyncio.IncompleteReadError, ConnectionError):
                self.close()
                if not again:
                    raise
        _, _, length = head.partition("\r\ncontent-length: ")
        return int(head.split(" ", 2)[1]), int(length.partition("\r\n")[0] or 0)
