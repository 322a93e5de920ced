"""Plans of configs as the API gives them: equal configs are planned once, whoever asks.

Design asks for the plan of a config, and Run sends the same config a moment later; a script sends
one a hundred times. What is known of a config is kept as bytes, and who asks for what is being
worked out waits for it.
"""

import json
from threading import BoundedSemaphore

from meshtune.backend.round_cache import Pages
from meshtune.backend.schemas.runs import FieldProblem, PlanOut
from meshtune.engine import config as c
from meshtune.engine.config import RunConfig, config_hash
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.planning.plan import file_problems, plan, problems
from meshtune.engine.plans import Plan

# More threads at a time finish no sooner, since most of planning is Python; and they would hold up
# every other answer of the process.
AT_ONCE = 2

Problems = list[tuple[str, str]]  # (field, one sentence)


class Plans:
    """What is known of the configs asked for last; shared by the threads of a process."""

    def __init__(self) -> None:
        self._known = Pages()
        self._turn = BoundedSemaphore(AT_ONCE)

    def body(self, config: RunConfig) -> bytes:
        """The plan of a config and what keeps it from running, as the JSON of a `PlanOut`."""
        key = _key(config)
        if key is None:
            return self._made(config).model_dump_json().encode()

        def make() -> bytes:
            made = self._made(config)
            found = [(each.field, each.message) for each in made.problems]
            self._known.get(("problems", key), lambda: json.dumps(found).encode())
            return made.model_dump_json().encode()

        return self._known.get(("plan", key), make)

    def problems(self, config: RunConfig) -> Problems:
        """What keeps a config from running, known if its plan is.

        Raises:
            ConfigMismatch: its parts do not fit together.
        """
        key = _key(config)
        if key is None:
            return self._found(config)

        def make() -> bytes:
            return json.dumps(self._found(config)).encode()

        known = json.loads(self._known.get(("problems", key), make))
        return [(field, message) for field, message in known]

    def _made(self, config: RunConfig) -> PlanOut:
        with self._turn:
            try:
                planned = plan(config)
            except (AssetMissing, ConfigMismatch) as error:
                return _told(None, file_problems(config) or [("config", str(error))])
            return _told(planned, problems(config, planned))

    def _found(self, config: RunConfig) -> Problems:
        with self._turn:
            return problems(config)


def _key(config: RunConfig) -> str | None:
    """Equal for configs that mean the same; None if one reads files, which may change meanwhile."""
    loss = getattr(config.channel, "path_loss", None)
    reads = isinstance(config.mobility, c.Trace) or isinstance(loss, c.GainTable)
    if reads or not c.is_shipped(config.model) or config.adapter.start_from or config.tasks:
        return None
    return config_hash(config.model_copy(update={"name": ""}))


def _told(planned: Plan | None, found: Problems) -> PlanOut:
    named = tuple(FieldProblem(field=field, message=message) for field, message in found)
    return PlanOut(plan=planned, problems=named)
