"""`python -m meshtune.backend.serve`: the API, with the limits only a server sets."""

import argparse
import logging
import sys
from collections.abc import Sequence

import uvicorn
from pydantic import ValidationError

from meshtune.backend.app import create_app
from meshtune.backend.services import logs
from meshtune.backend.settings import Settings
from meshtune.engine.config import plain_errors

log = logging.getLogger(__name__)

EXIT_REFUSED = 2
IDLE_S = 5  # a connection that asks nothing for so long is closed
STOP_S = 3  # an open event stream would keep the server from ever stopping
CONNECTIONS_MAX = 1000  # more get 503 at once
HEADERS_MAX_BYTES = 16_384


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(
        prog="meshtune.backend.serve", description="The API of Meshtune."
    )
    parser.add_argument("--host", help="address to listen on; MESHTUNE_API_HOST if not given")
    parser.add_argument("--port", type=int, help="MESHTUNE_API_PORT if not given")
    asked = parser.parse_args(argv)
    given = {"api_host": asked.host, "api_port": asked.port}
    try:
        settings = Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        for field, sentence in plain_errors(error.errors()):
            sys.stderr.write(f"MESHTUNE_{field.upper()}: {sentence}\n")
        return EXIT_REFUSED
    logs.set_up(settings.log)
    if settings.tokens_required:
        log.info("every caller needs a token; `meshtune token create NAME` makes one")
    server(settings).run()
    return 0


def server(settings: Settings) -> uvicorn.Server:
    """The server over the store of `settings`, not yet started."""
    return uvicorn.Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.api_host,
            port=settings.api_port,
            http="h11",  # whose limit on headers can be set
            h11_max_incomplete_event_size=HEADERS_MAX_BYTES,
            limit_concurrency=CONNECTIONS_MAX,
            timeout_keep_alive=IDLE_S,
            timeout_graceful_shutdown=STOP_S,
            access_log=False,  # ours says more, and no query
            server_header=False,
            log_config=None,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
