"""The blocks of params.yaml, and the pydantic models that they are checked against."""

import importlib
import importlib.util

from pydantic import BaseModel

from stillhouse.errors import InputError

# Blocks that are not a recipe's: the module and the name of their models, or of what makes them.
SHARED = {
    "data": ("tasks.sources.blocks", "DataParams"),
    "corpus": ("tasks.sources.make_corpus", "CorpusParams"),
    "shared": ("tasks.stage.params", "SharedParams"),
    "train": ("tasks.stage.params", "TrainParams"),
    "teacher": ("tasks.phases.teacher", "TeacherParams"),
    "kinds": ("tasks.kinds.find", "kinds_params"),
    "ensemble": ("tasks.finetune", "EnsembleParams"),
    "mlm": ("tasks.fit_mlm", "MlmParams"),
    "augment": ("tasks.augment", "AugmentParams"),
    "bilstm-augment": ("tasks.augment_words", "AugmentWordsParams"),
    "finish": ("tasks.links.params", "FinishParams"),
    "export": ("tasks.exported.params", "ExportParams"),
    "evaluate": ("tasks.stage.params", "EvaluateParams"),
    "budget": ("tasks.stage.params", "BudgetParams"),
    "report": ("tasks.reports.params", "ReportParams"),
    "search": ("flows.search.space", "SearchParams"),
    "promote": ("flows.promotion.gate", "PromoteParams"),
}


def model_of(block: str) -> type[BaseModel]:
    """The model of a block: a shared one's, or `Params` of the recipe that it is called after.

    Raises:
        InputError: no stage reads such a block.
    """
    word = block.replace("-", "_")
    module, name = SHARED.get(block, (f"tasks.recipes.{word}", "Params"))
    if not word.isidentifier() or importlib.util.find_spec(module) is None:
        raise InputError(f"params.yaml: block '{block}' is neither shared nor a recipe's: check its spelling")
    found = getattr(importlib.import_module(module), name)
    # The block `kinds` has a key a kind, so its model is made of theirs.
    return found if isinstance(found, type) else found()
