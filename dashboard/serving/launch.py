"""How to start the dashboard: its command line. Light: imports nothing heavy."""

from pathlib import Path

HOST = "127.0.0.1"
ENTRY = Path(__file__).with_name("server.py")
API_URL_VARIABLE = "MESHTUNE_API_URL"
DEFAULT_API_URL = "http://127.0.0.1:8701"


def streamlit_arguments(port: int, host: str) -> list[str]:
    """What `python -m meshtune.dashboard` hands to Streamlit.

    Theme and behaviour come from .streamlit/config.toml, which Streamlit finds beside the script
    whatever the working directory is; the flags win over any config of the user.
    """
    return [
        "run",
        str(ENTRY),
        f"--server.port={port}",
        f"--server.address={host}",
        "--server.headless=true",
        "--server.fileWatcherType=none",
        "--browser.gatherUsageStats=false",
    ]
