"""What keeps a config from running with the model and the tasks that it names."""

from meshtune.engine.config import RunConfig, is_shipped
from meshtune.engine.errors import AssetMissing, ConfigMismatch
from meshtune.engine.models.door import check_model
from meshtune.engine.models.questions import question_problem
from meshtune.engine.tasks import TASKS


def model_problems(config: RunConfig) -> list[tuple[str, str]]:
    """What is wrong with a model or rows from outside: (field, one sentence); no weight is read."""
    if is_shipped(config.model) and (foreign := _foreign_tasks(config)):
        return foreign
    if is_shipped(config.model) and not config.tasks:
        return []
    try:
        if not is_shipped(config.model):
            check_model(config.model)
    except (AssetMissing, ConfigMismatch) as error:
        return [("model.path", str(error))]
    found = question_problem(config)
    return [] if found is None else [found]


def _foreign_tasks(config: RunConfig) -> list[tuple[str, str]]:
    """Tasks in whose language a model of the package has read nothing."""
    source = config.model.source
    for task in config.fleet.present_tasks():
        if task in TASKS and (world := TASKS[task].world) != source:
            return [
                (
                    "fleet.tasks",
                    f"the {source} model has never read the language of the task {task}; choose "
                    f"other tasks, or set model.source to {world}",
                )
            ]
    return []
