"""What a token may do, and how long. Light: the command line names these in its help."""

from enum import StrEnum

DAYS_MAX = 3650


class Scope(StrEnum):
    """What a token may do; each includes the ones before."""

    READ = "read"  # look at everything
    RUN = "run"  # and create and control runs
    ADMIN = "admin"  # and delete, import

    def covers(self, needed: "Scope") -> bool:
        """Whether this scope is enough where `needed` is asked for."""
        return _RANK[self] >= _RANK[needed]


_RANK = {scope: rank for rank, scope in enumerate(Scope)}
