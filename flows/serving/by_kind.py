"""Which file here serves a kind of task."""

from stillhouse.errors import InputError

CODE = {
    "classes": "labels.py",
    "multi-label": "labels.py",
    "scores": "labels.py",
    "answers": "answers.py",
    "tokens": "tokens.py",
}
# Columns of lists; where a kind has one, each of its columns may be missing: a row has one or another.
LISTS = ("words",)


def code_of(kind: str) -> str:
    """The name of the file that serves models of a kind.

    Raises:
        InputError: there is none.
    """
    if kind not in CODE:
        raise InputError(
            f"kind = '{kind}' has no served model, {', '.join(CODE)} have: serve its ONNX folder by itself"
        )
    return CODE[kind]
