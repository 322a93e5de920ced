"""The dashboard as a process of a test."""

import sys

HEALTH_PATH = "/_stcore/health"  # of Streamlit; answers `ok` once the server listens


def arguments(port: int, api_url: str) -> list[str]:
    """Command line that serves the dashboard on `port`, in front of the API at `api_url`."""
    return [
        *(sys.executable, "-m", "meshtune.dashboard"),
        f"--port={port}",
        f"--api-url={api_url}",
    ]
