"""Programs of the layer above, found by what an installed package announces, never by their names.

The command line starts the dashboard, and the API has a report drawn. Neither may know the layer
that does it. So that layer announces its programs as entry points (pyproject.toml): modules for
`python -m`. Without them, all else works.
"""

from importlib.metadata import entry_points

GROUP = "meshtune.programs"


class NotAnnounced(Exception):
    """No installed package announces the program; the message says what to do."""


def module_of(program: str) -> str:
    """The module that runs the program.

    Raises:
        NotAnnounced: there is none.
    """
    for found in entry_points(group=GROUP, name=program):
        return found.module
    raise NotAnnounced(
        f"no program `{program}` is installed beside this one; install Meshtune again"
    )
