"""What keeps a config from running with the model and the tasks that it names."""

from meshtune.engine.config import RunConfig
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.models.door import check_model
from meshtune.engine.models.questions import question_problem


def model_problems(config: RunConfig) -> list[tuple[str, str]]:
    """What is wrong with a model or rows from outside: (field, one sentence); no weight is read."""
    if config.model.source == "embedded" and not config.tasks:
        return []
    try:
        if config.model.source != "embedded":
            check_model(config.model)
    except (AssetMissing, ConfigMismatch) as error:
        return [("model.path", str(error))]
    found = question_problem(config)
    return [] if found is None else [found]
