"""Which file here serves a kind of task."""

from stillhouse.errors import InputError

CODE = {"classes": "labels.py", "multi-label": "labels.py", "scores": "labels.py", "answers": "answers.py"}


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
