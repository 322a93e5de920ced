"""Bounds on what a request may send, checked before anything parses it."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backend.errors import problem

BODY_MAX_BYTES = 1_000_000


class BodyLimit:
    """ASGI middleware that refuses bodies above `BODY_MAX_BYTES`, whatever their header claims."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body up to the limit, then hand it to the app as one message."""
        if scope["type"] != "http" or scope["method"] in {"GET", "HEAD", "OPTIONS"}:
            await self.app(scope, receive, send)
            return
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            if len(body) > BODY_MAX_BYTES:
                too_large = problem(
                    413,
                    "BodyTooLarge",
                    f"the body is larger than {BODY_MAX_BYTES:,} bytes; a config needs far less",
                )
                await too_large(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        whole: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return whole.pop() if whole else await receive()

        await self.app(scope, replay, send)
