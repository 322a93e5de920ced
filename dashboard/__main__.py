"""`python -m meshtune.dashboard --port 8700 --api-url URL`: serve the dashboard."""

import argparse
import os

from streamlit.web import cli

from meshtune.dashboard.serving.launch import (
    API_URL_VARIABLE,
    DEFAULT_API_URL,
    HOST,
    streamlit_arguments,
)


def main() -> None:
    """Run Streamlit on the dashboard until it is told to stop."""
    parser = argparse.ArgumentParser(prog="python -m meshtune.dashboard", description=__doc__)
    parser.add_argument("--port", type=int, default=8700)
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--api-url", default=os.environ.get(API_URL_VARIABLE, DEFAULT_API_URL))
    chosen = parser.parse_args()
    os.environ[API_URL_VARIABLE] = chosen.api_url
    cli.main(args=streamlit_arguments(chosen.port, chosen.host), prog_name="streamlit")


if __name__ == "__main__":
    main()
