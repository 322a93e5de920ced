"""Tokens: who may call the API from beyond this machine, and what they may do.

A token is 256 random bits that only its bearer has. The table keeps their SHA-256: with that much
randomness nobody can search for the token behind a hash, so the slow hashes that passwords need
would only make every request slow.
"""

import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import String, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from meshtune.db.errors import StoreError
from meshtune.db.models import Base
from meshtune.db.scopes import Scope

PREFIX = "mt_"  # so that a leaked token is recognised by people, filters and scanners
RANDOM_BYTES = 32
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


class Token(Base):
    """A token as it is kept: everything but the secret."""

    __tablename__ = "tokens"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    scope: Mapped[str] = mapped_column(String(16))
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Bearer:
    """Whoever showed a valid token."""

    name: str
    scope: Scope


class InvalidTokenName(StoreError):
    """A token cannot have this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name[:80]!r} cannot be the name of a token: use up to 64 letters, digits, dots, "
            "underscores and hyphens, a letter or digit first"
        )


class TokenExists(StoreError):
    """Another token has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is a token {name} already; choose another name, "
            f"or end it with `meshtune token revoke {name}`"
        )


class TokenNotFound(StoreError):
    """No token has this name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"there is no token {name[:80]}; `meshtune token list` names those that exist"
        )


def create(session: Session, name: str, scope: Scope, *, days: int | None = None) -> str:
    """A new token; the answer is the only copy of its secret.

    Raises:
        InvalidTokenName: the name cannot be written in logs and commands as it is.
        TokenExists: the name is taken.
    """
    if not NAME.fullmatch(name):
        raise InvalidTokenName(name)
    if session.get(Token, name) is not None:
        raise TokenExists(name)
    now = datetime.now(UTC)
    secret = PREFIX + secrets.token_urlsafe(RANDOM_BYTES)
    session.add(
        Token(
            name=name,
            scope=scope,
            sha256=_hash(secret),
            created_at=now,
            expires_at=None if days is None else now + timedelta(days=days),
        )
    )
    session.flush()
    return secret


def bearer_of(session: Session, secret: str) -> Bearer | None:
    """Who holds this secret; None if no token has it or the token's time is over."""
    # The lookup is by hash: how long it takes says nothing about the secret.
    token = session.scalars(select(Token).where(Token.sha256 == _hash(secret))).one_or_none()
    if token is None or (token.expires_at is not None and token.expires_at <= datetime.now(UTC)):
        return None
    return Bearer(token.name, Scope(token.scope))


def listed(session: Session) -> list[Token]:
    """All tokens by name."""
    return list(session.scalars(select(Token).order_by(Token.name)))


def revoke(session: Session, name: str) -> None:
    """End a token: the next request with it is refused.

    Raises:
        TokenNotFound: there is none of this name.
    """
    token = session.get(Token, name)
    if token is None:
        raise TokenNotFound(name)
    session.delete(token)


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
