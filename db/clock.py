"""What time it is, for events and for leases."""

import time
from datetime import UTC, datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


def today() -> datetime:
    """This moment, as events and rows have it."""
    return datetime.now(UTC)


def lease_time(session: Session) -> float:
    """Seconds, by the clock that all who share the database compare leases with."""
    # Leases are compared across machines on PostgreSQL: its clock. SQLite lives on one machine.
    if session.get_bind().dialect.name == "postgresql":
        return float(session.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
    return time.time()
