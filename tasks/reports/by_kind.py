"""What a page shows of the models of each kind of task: the one place of the reports that tells kinds apart.

A kind that is not here has a report as any other, in which no rows are quoted and no classes are told apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from tasks.reports.by_class import Scores, of_classes, of_label_sets, of_types
from tasks.reports.said import Reader, answers, names, scores, words


@dataclass(frozen=True)
class Shown:
    """Of one kind.

    Args:
        said: reads what a model said of each row.
        scores: those of each class; None of a kind without classes.
        each: what such a class is called.
        confused: whether what is right and what was said are one class each.
    """

    said: Reader
    scores: Scores | None = None
    each: str = "label"
    confused: bool = False


BY_KIND: Mapping[str, Shown] = {
    "classes": Shown(names, of_classes, confused=True),
    "multi-label": Shown(names, of_label_sets),
    "scores": Shown(scores),
    "tokens": Shown(words, of_types, "type of entity", confused=True),
    "answers": Shown(answers, confused=True),
}
