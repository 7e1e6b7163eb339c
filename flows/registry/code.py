"""The code that serves a version: its files' names, and the contents they must have before any of it runs."""

import hashlib
from pathlib import Path

from flows.serving.by_kind import CODE
from stillhouse.errors import InputError

SERVING = Path(__file__).parents[1] / "serving"
OURS = {name: SERVING / name for name in CODE.values()}
# Contents that these files had, and names, in versions that were registered before: each is served by its own.
FORMER = {
    "serving_model.py": ("df190ab25516c402edc4336348568addd0592d6855dcfb70be1cd792b3911984",),
    "serving_answers.py": ("5eb475860ab315fbe85817fe8b5341236feb844b9046f3701bdb9211281b22b3",),
    "labels.py": (
        "d7e0f0b5a05f9a527ea1c096839b2879b6790490e1ef9b43bf81de161b424584",
        "05e8b820bbe4f65a39f1e15aa1a1aca0ec7a8198c2e34e5733f718c40bd9fc6c",
    ),
    "answers.py": (
        "5bb30337c03088213af1e32c2275de15ab9e82b82fa88cd798109e44f70d18e3",
        "132c65ce83c13655daadb4f900a83d5c5ab641252aa02a67847e123524d8ccf7",
    ),
}
LOADER = "mlflow.pyfunc.loaders.code_model"


def refuse_code(folder: Path) -> None:
    """Raise unless the code that a fetched version is served by is this project's, of now or of before.

    Raises:
        InputError: it is not, or MLflow is told to load something else.
    """
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        flavors = Model.load(str(folder)).flavors
    except (MlflowException, OSError, TypeError, ValueError) as error:
        raise InputError(f"'{folder / 'MLmodel'}' cannot be read ({type(error).__name__}): register it again") from None
    served = flavors.get("python_function", {})
    # MLflow, too, looks for the file by the last part of its recorded path.
    name = Path(str(served.get("model_code_path"))).name
    known = name in OURS or name in FORMER
    if list(flavors) != ["python_function"] or served.get("loader_module") != LOADER or not known:
        raise InputError(f"MLmodel: flavors {flavors!r:.200} are not those of a model of this project: it is refused")
    found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    if found not in _known(name):
        raise InputError(
            f"'{name}' of the version is not this project's code (sha256 {found[:16]}…, known: "
            f"{', '.join(f'{each[:16]}…' for each in _known(name))}): check out the version's commit, or register the "
            "model again"
        )


def _known(name: str) -> tuple[str, ...]:
    """The digests that a file of this name may have, the present one first."""
    present = (hashlib.sha256(OURS[name].read_bytes()).hexdigest(),) if name in OURS else ()
    return (*present, *FORMER.get(name, ()))
