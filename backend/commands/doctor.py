"""Checks of what the services need: free ports and a database that can be written."""

from collections.abc import Iterable

from meshtune.backend.services.up import taken
from meshtune.backend.settings import Settings, open_store
from meshtune.db.errors import StoreUnavailable
from meshtune.db.session import file_of
from meshtune.engine.commands.doctor import Check, Verdict

DATABASE_WAIT_MS = 2000


def service_checks(settings: Settings, ports: Iterable[int]) -> list[Check]:
    """One check per port, and the database."""
    return [*(check_port(port) for port in ports), check_database(settings)]


def check_port(port: int) -> Check:
    """Nobody else listens on the port."""
    name = f"Port {port}"
    if not taken(port):
        return Check(name, Verdict.GOOD, "free")
    advice = "fine if that is Meshtune; else stop it, or use `meshtune up --port N --api-port M`"
    return Check(name, Verdict.NOTE, "in use", advice)


def check_database(settings: Settings) -> Check:
    """The database opens, is up to date and takes writes; a missing one is created."""
    try:
        engine = open_store(settings, busy_timeout_ms=DATABASE_WAIT_MS)
        engine.dispose()
    except StoreUnavailable as error:
        advice = "set MESHTUNE_STATE_DIR or MESHTUNE_DATABASE_URL to a place that can be written"
        return Check("Database", Verdict.BAD, str(error), advice)
    file = file_of(engine.url) if engine.dialect.name == "sqlite" else None
    shown = str(file) if file else engine.url.render_as_string(hide_password=True)
    return Check("Database", Verdict.GOOD, shown)
