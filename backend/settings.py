"""Settings from the environment, prefix MESHTUNE_. Read once at the door and passed on."""

import logging
from enum import StrEnum
from ipaddress import IPv6Address, ip_address
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import URL, Engine

from meshtune.db.files import adopt, holds_runs, misread_file, url_of
from meshtune.db.session import BUSY_TIMEOUT_MS, open_engine, upgrade

log = logging.getLogger(__name__)


class LogForm(StrEnum):
    """How logs are written."""

    PLAIN = "plain"  # for people
    JSON = "json"  # one object per line, for programs


class Settings(BaseSettings):
    """Where things are kept and where the parts listen."""

    model_config = SettingsConfigDict(env_prefix="MESHTUNE_", frozen=True, extra="ignore")

    state_dir: Path = Field(Path(".state"), description="Folder of database and checkpoints")
    database_url: str | None = Field(
        None, repr=False, description="Database; a SQLite file in the state folder if not set"
    )
    api_host: str = Field("127.0.0.1", description="Address that the API listens on")
    api_port: int = Field(8701, ge=1, le=65535)
    api_url: str = Field("http://127.0.0.1:8701", description="Where the dashboard finds the API")
    require_token: bool | None = Field(
        None, description="Ask for tokens; if not set, as soon as others than this machine can call"
    )
    allowed_hosts: str = Field(
        "", description="Names that a browser may call the API by, separated by commas"
    )
    writes_per_s: float = Field(20.0, gt=0.0, description="Lasting rate of changes per caller")
    writes_burst: int = Field(200, ge=1, description="Changes that a caller may ask for at once")
    reads_per_s: float = Field(200.0, gt=0.0, description="Lasting rate of questions per caller")
    reads_burst: int = Field(2000, ge=1, description="Questions that a caller may ask at once")
    log: LogForm = Field(LogForm.PLAIN, description="Form of the logs")
    worker_slots: int = Field(1, ge=1, le=64, description="Runs that one worker trains at a time")
    worker_nice: int = Field(
        5, ge=0, le=19, description="How far training gives way to all else; 0: not at all"
    )
    lease_s: float = Field(20.0, ge=1.0, le=3600.0, description="A silent worker is lost after it")
    poll_s: float = Field(0.1, gt=0.0, le=10.0, description="Pause between looks at the queue")
    grace_s: float = Field(10.0, gt=0.0, le=3600.0, description="Patience with a run told to stop")
    stall_s: float = Field(1800.0, gt=0.0, description="A run without any step so long is stuck")

    @property
    def store_url(self) -> str | URL:
        """URL of the database."""
        return self.database_url or url_of(self.database_file)

    @property
    def database_file(self) -> Path:
        """The database in the state folder, used unless `database_url` names another."""
        return self.state_dir / "meshtune.db"

    @property
    def checkpoint_dir(self) -> Path:
        """Folder of the checkpoints."""
        return self.state_dir / "checkpoints"

    @property
    def tokens_required(self) -> bool:
        """Whether every caller needs a token."""
        if self.require_token is not None:
            return self.require_token
        return not is_loopback(self.api_host)

    @property
    def host_names(self) -> frozenset[str]:
        """`allowed_hosts`, one by one."""
        names = (name.strip().lower() for name in self.allowed_hosts.split(","))
        return frozenset(name for name in names if name)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address; names other than localhost may be any."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost"
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def open_store(settings: Settings, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Engine:
    """The database of these settings, its tables up to date.

    Raises:
        meshtune.db.errors.StoreUnavailable: it cannot be opened or written.
    """
    find_misplaced(settings)
    engine = open_engine(settings.store_url, busy_timeout_ms=busy_timeout_ms)
    try:
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine


def find_misplaced(settings: Settings) -> None:
    """Bring in the database that an earlier version put elsewhere, as it misread the folder's name.

    It is copied, for two folders may have shared it. A folder that was never used gets none: the
    other file is then that of another folder.

    Raises:
        meshtune.db.errors.StoreUnavailable: there is one, and it cannot be copied.
    """
    file = settings.database_file
    elsewhere = misread_file(file)
    if settings.database_url or elsewhere is None or file.exists():
        return
    if not elsewhere.is_file() or not holds_runs(elsewhere):
        return
    if not (settings.state_dir.is_dir() and any(settings.state_dir.iterdir())):
        log.warning(
            "the database %s begins empty; should its runs be in %s, where versions before this "
            "one put them, stop Meshtune and copy that file here",
            file,
            elsewhere,
        )
    elif adopt(elsewhere, file):
        log.warning(
            "the runs of %s were in %s, as versions before this one misread the name of the "
            "folder; they are copied to %s, the old file stays",
            settings.state_dir,
            elsewhere,
            file,
        )
