"""structured-qa: `structured` on extractive question answering, which is what its paper prunes."""

from tasks.kinds.answers import answers
from tasks.recipes.structured import Params, gates, retrain

__all__ = ["KIND", "Params", "gates", "retrain"]

KIND = answers
