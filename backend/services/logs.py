"""Logs: a line per event for people, or a JSON object per line for programs. Never a secret.

Secrets are masked where a record becomes text, so that tracebacks and what libraries log are
covered too.
"""

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any

from meshtune.backend.settings import LogForm

MASK = "***"
FIELDS = "fields"  # attribute of a record that holds what a JSON line says besides the message
_SECRETS = (
    (re.compile(r"\bmt_[A-Za-z0-9_-]{8,}"), f"mt_{MASK}"),
    (re.compile(r"(?i)\b(bearer|basic)(\s+|%20)[^\s\"',;]+"), rf"\1\2{MASK}"),
    (re.compile(r"(?i)\b(password|passwd|secret|token|api_?key)=[^\s&\"',;]+"), rf"\1={MASK}"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*):[^\s/@]+@"), rf"\1:{MASK}@"),
)
# One line per event: what a caller wrote must not look like another line.
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160)) if code != 9}


def masked(text: str) -> str:
    """The text without tokens, passwords in addresses, and the like."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


class PlainFormatter(logging.Formatter):
    """Time, logger and message; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line, as one line."""
        return super().formatMessage(record).translate(_CONTROL)

    def format(self, record: logging.LogRecord) -> str:
        """The record as text, secrets masked."""
        return masked(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object per record: at, level, logger, message, fields of the event, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line, secrets masked."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": masked(record.getMessage()),
        }
        for name, value in getattr(record, FIELDS, {}).items():
            line[name] = masked(value) if isinstance(value, str) else value
        if record.exc_info:
            line["traceback"] = masked(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def set_up(form: LogForm) -> None:
    """Send what this process logs to standard error, in that form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form is LogForm.JSON else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for chatty in ("alembic", "httpx"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
