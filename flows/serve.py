"""`python -m flows.serve models:/NAME@champion`: check a registered model, then serve it.

`mlflow models serve` runs whatever code a version brings along. Here the version's files are fetched and must have the
digests that were registered, and the code among them must be this project's own, before any of it runs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.registry.code import refuse_code
from flows.registry.files import fetch
from flows.registry.versions import find_version, reach_store
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


if __name__ == "__main__":
    program.run(main)
