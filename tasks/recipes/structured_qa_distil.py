"""structured-qa-distil: what `structured-qa` slices, retrained with the teacher's start and end logits too."""

from tasks.kinds.answers import answers
from tasks.recipes.structured_distil import Params, retrain

__all__ = ["KIND", "Params", "retrain"]

KIND = answers
