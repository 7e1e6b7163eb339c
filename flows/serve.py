"""`python -m flows.serve models:/NAME@champion`: serve a registered model, once it is known for what it is.

`mlflow models serve` runs whatever code a version brings along. Here the version's files are fetched and must have the
digests that were registered, and the code among them must be this project's own, before any of it runs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.registry.files import SERVING, fetch
from flows.registry.versions import find_version, reach_store
from stillhouse.errors import InputError
from tasks.stage import program


def main() -> None:
    """Check a registered model, and serve it on loopback."""
    parser = argparse.ArgumentParser(prog="python -m flows.serve", description=main.__doc__)
    parser.add_argument("model", help="models:/NAME@champion, or models:/NAME/VERSION")
    parser.add_argument("--port", type=int, default=5001)
    parser.add_argument("--check", action="store_true", help="check it only")
    arguments = parser.parse_args()
    client, _ = reach_store()
    version = find_version(client, arguments.model)
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch(client, version, Path(scratch))
        refuse_code(folder)
        weights = version.tags["weights_sha256"]
        print(f"{version.name} version {version.version}: weights sha256 {weights}, as registered", flush=True)
        if not arguments.check:
            words = ["models", "serve", "-m", str(folder), "--env-manager", "local", "--port", str(arguments.port)]
            raise SystemExit(subprocess.call([sys.executable, "-m", "mlflow", *words]))


def refuse_code(folder: Path) -> None:
    """Raise unless the code that a fetched version is served by is this project's.

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
    # MLflow, too, takes the last part alone of where the code once was.
    name = Path(str(served.get("model_code_path"))).name
    if list(flavors) != ["python_function"] or served.get("loader_module") != LOADER or name not in SERVING:
        raise InputError(f"MLmodel: flavors {flavors!r:.200} are not those of a model of this project: it is refused")
    ours = SERVING[name]
    if (folder / name).read_bytes() != ours.read_bytes():
        raise InputError(
            f"'{name}' of the version is not this project's flows/serving/{ours.name}: check out the version's commit, "
            "or register the model again"
        )


LOADER = "mlflow.pyfunc.loaders.code_model"


if __name__ == "__main__":
    program.run(main)
