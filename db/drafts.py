"""Drafts: configs under design, kept so that a refreshed page loses nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from meshtune.db.errors import StoreError
from meshtune.db.models import Base

KEPT_DAYS = 30
KEPT_MOST = 1000


class DraftNotFound(StoreError):
    """There is no such draft; it may have been unused for too long."""

    def __init__(self, draft_id: int) -> None:
        super().__init__(
            f"there is no draft {draft_id}; drafts unused for {KEPT_DAYS} days are forgotten"
        )
        self.draft_id = draft_id


class DraftChanged(StoreError):
    """Somebody else has changed the draft since it was read."""

    def __init__(self, draft_id: int, version: int) -> None:
        super().__init__(
            f"draft {draft_id} was changed elsewhere, perhaps in another tab; load it again or "
            "save yours as a new one"
        )
        self.draft_id, self.version = draft_id, version


class Draft(Base):
    """A config tree under design, valid or not."""

    __tablename__ = "drafts"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    version: Mapped[int]  # grows with every change
    tree: Mapped[dict[str, Any]]
    updated_at: Mapped[datetime]


def create(session: Session, tree: dict[str, Any]) -> Draft:
    """A new draft; drafts that nobody used for long go."""
    old = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
    session.execute(delete(Draft).where(Draft.updated_at < old))
    newest = select(Draft.id).order_by(Draft.id.desc()).offset(KEPT_MOST - 1).limit(1)
    session.execute(delete(Draft).where(Draft.id <= newest.scalar_subquery()))
    draft = Draft(version=1, tree=tree, updated_at=datetime.now(UTC))
    session.add(draft)
    session.flush()
    return draft


def get(session: Session, draft_id: int) -> Draft:
    """The draft with this number.

    Raises:
        DraftNotFound: there is none, or no more.
    """
    draft = session.get(Draft, draft_id, populate_existing=True)
    if draft is None:
        raise DraftNotFound(draft_id)
    return draft


def save(session: Session, draft_id: int, version: int, tree: dict[str, Any]) -> Draft:
    """The draft with a new tree, if it is still at `version`.

    Raises:
        DraftNotFound: there is none, or no more.
        DraftChanged: it is at another version.
    """
    changed = session.execute(
        update(Draft)
        .where(Draft.id == draft_id, Draft.version == version)
        .values(version=version + 1, tree=tree, updated_at=datetime.now(UTC))
        .returning(Draft.id)
    ).one_or_none()
    draft = get(session, draft_id)
    if changed is None:
        raise DraftChanged(draft_id, draft.version)
    return draft
