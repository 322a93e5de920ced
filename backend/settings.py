"""Settings from the environment, prefix MESHTUNE_. Read once at the door and passed on."""

from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict
from sqlalchemy import Engine

from db.session import open_engine, upgrade


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
    worker_slots: int = Field(1, ge=1, le=64, description="Runs that one worker trains at a time")
    lease_s: float = Field(20.0, ge=1.0, le=3600.0, description="A silent worker is lost after it")
    poll_s: float = Field(0.1, gt=0.0, le=10.0, description="Pause between looks at the queue")
    grace_s: float = Field(10.0, gt=0.0, le=3600.0, description="Patience with a run told to stop")
    stall_s: float = Field(1800.0, gt=0.0, description="A run without any step so long is stuck")

    @property
    def store_url(self) -> str:
        """URL of the database."""
        return self.database_url or f"sqlite:///{self.state_dir / 'meshtune.db'}"

    @property
    def checkpoint_dir(self) -> Path:
        """Folder of the checkpoints."""
        return self.state_dir / "checkpoints"


def open_store(settings: Settings) -> Engine:
    """The database of these settings, its tables up to date.

    Raises:
        db.errors.StoreUnavailable: it cannot be opened or written.
    """
    engine = open_engine(settings.store_url)
    try:
        upgrade(engine)
    except BaseException:
        engine.dispose()
        raise
    return engine
