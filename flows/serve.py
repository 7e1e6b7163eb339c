"""`python -m flows.serve models:/NAME@champion`: check a registered model, then serve it.

`mlflow models serve` runs whatever code a version brings along. Here the version's files are fetched and must have the
digests that were registered, and the code among them must be this project's own, before any of it runs.
"""

import signal
import socket
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path
from typing import NoReturn

from flows.dag.process import end_group
from flows.registry.code import refuse_code
from flows.registry.files import fetch
from flows.registry.versions import find_version, reach_store
from stillhouse.errors import InputError
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Check a registered model, and serve it on loopback."""
    arguments = parser().parse_args()
    if not arguments.check:
        _refuse_taken(arguments.port)
    client, _ = reach_store()
    version = find_version(client, arguments.model)
    # Asked to end, this process leaves its folder and the server that it has started in order.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with tempfile.TemporaryDirectory() as scratch:
        folder = fetch(client, version, Path(scratch))
        refuse_code(folder)
        weights = version.tags["weights_sha256"]
        print(f"{version.name} version {version.version}: weights sha256 {weights}, as registered", flush=True)
        if not arguments.check:
            raise SystemExit(_serve(folder, arguments.port))


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.serve", main.__doc__)
    own.add_argument("model", help="models:/NAME@champion, or models:/NAME/VERSION")
    own.add_argument("--port", type=int, default=5001)
    own.add_argument("--check", action="store_true", help="check it only")
    return own


def _serve(folder: Path, port: int) -> int:
    """Run MLflow's server until it or this process ends."""
    words = ["models", "serve", "-m", str(folder), "--env-manager", "local", "--port", str(port)]
    # A group of its own: MLflow starts a server, which starts its workers.
    server = subprocess.Popen([sys.executable, "-m", "mlflow", *words], start_new_session=True)
    try:
        return server.wait()
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    finally:
        end_group(server)


def _leave(number: int, _frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _refuse_taken(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except (OSError, OverflowError) as error:
            raise InputError(f"--port {port} cannot be used ({error}): choose another") from None


if __name__ == "__main__":
    program.run(main)
