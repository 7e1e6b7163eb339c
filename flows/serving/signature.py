"""What a version is asked and what it answers, as MLflow states it: the schema of both, and an example of the first."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flows.serving.by_kind import LISTS
from stillhouse.tagging.schemes import scheme_of

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, TensorSpec

# Of no data set: what a model was trained on is nobody's to show.
EXAMPLE = {
    "text": "The film is good.",
    "text_pair": "The actor was great.",
    "question": "What is good?",
    "context": "The film is good.",
}


def signature(kind: str, columns: Sequence[str], labels: Sequence[str]) -> "ModelSignature":
    """The schema of a version's input and output.

    Args:
        columns: what a row of its input has.
        labels: of its outputs.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    return ModelSignature(Schema(inputs(columns)), Schema(outputs(kind, labels)))


def inputs(columns: Sequence[str]) -> "list[ColSpec | TensorSpec]":
    """MLflow's specification of a served model's columns."""
    from mlflow.types import ColSpec, DataType
    from mlflow.types.schema import Array

    alternatives = any(name in LISTS for name in columns)
    kinds = [Array(DataType.string) if name in LISTS else DataType.string for name in columns]
    return [ColSpec(kind, name, required=not alternatives) for kind, name in zip(kinds, columns, strict=True)]


def outputs(kind: str, labels: Sequence[str]) -> "list[ColSpec | TensorSpec]":
    """MLflow's specification of what is answered to each row: see the files in `flows/serving`."""
    from mlflow.types import ColSpec, DataType
    from mlflow.types.schema import Array, Map

    text, number = DataType.string, DataType.double
    found: dict[str, list[tuple[str, Any]]] = {
        "classes": [("label", text), ("scores", Map(number))],
        "multi-label": [("labels", Array(text)), ("scores", Map(number))],
        "scores": [("score", number)],
        "answers": [("answer", text), ("score", number)],
    }
    if kind == "tokens":
        return [_words(labels)]
    return [ColSpec(type_, name) for name, type_ in found[kind]]


def example(columns: Sequence[str]) -> "pd.DataFrame":
    """A row of input; of columns of which a row has one or another, the first."""
    import pandas as pd

    alternatives = any(name in LISTS for name in columns)
    return pd.DataFrame({name: [EXAMPLE[name]] for name in (columns[:1] if alternatives else columns)})


def _words(labels: Sequence[str]) -> "ColSpec":
    from mlflow.types import ColSpec, DataType
    from mlflow.types.schema import Array, Object, Property

    text, place, number = DataType.string, DataType.long, DataType.double
    of_all = [Property("text", text), Property("start", place), Property("end", place), Property("score", number)]
    if not scheme_of(labels).entities:
        return ColSpec(Array(Object([Property("label", text), *of_all])), "words")
    # Which words they are is said to a caller who has cut them.
    cut = [Property(name, place, required=False) for name in ("first", "last")]
    return ColSpec(Array(Object([Property("type", text), *of_all, *cut])), "entities")
