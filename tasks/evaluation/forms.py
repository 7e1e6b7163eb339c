"""A recipe's student is plain, or finished: after its last links. What tells the two forms apart in metrics.json."""

from collections.abc import Mapping
from typing import Any

PLAIN, FINISHED = "plain", "finished"


def is_finished(figures: Mapping[str, Any]) -> bool:
    """Whether a metrics.json is of a finished student; those from before there were any do not say."""
    return figures.get("form") == FINISHED


def shown_name(figures: Mapping[str, Any]) -> str:
    """What a model is called on a page: by its recipe, and `hinton finished`."""
    return f"{figures['recipe']} {FINISHED}" if is_finished(figures) else figures["recipe"]
