"""`python -m flows.servers up|down|status`: a Prefect server, an MLflow server and a worker, on this machine.

`flows.dag.servers` starts and stops them.
"""

import os
from argparse import ArgumentParser

from flows.dag.servers import down, status, up
from tasks.stage import program
from tasks.stage.commands import command_parser


def main() -> None:
    """Start or stop the servers of this clone."""
    args = parser().parse_args()
    if args.what == "down":
        down()
    elif args.what == "status":
        status()
    else:
        up(args.prefect_port, args.mlflow_port, args.mlflow_store, args.basic_auth, args.gpus)


def parser() -> ArgumentParser:
    """The options of this program."""
    own = command_parser("flows.servers", main.__doc__)
    own.add_argument("what", choices=["up", "down", "status"])
    own.add_argument("--prefect-port", type=int, default=os.environ.get("STILLHOUSE_PREFECT_PORT", "4200"))
    own.add_argument("--mlflow-port", type=int, default=os.environ.get("STILLHOUSE_MLFLOW_PORT", "5000"))
    own.add_argument(
        "--mlflow-store",
        default=os.environ.get("STILLHOUSE_MLFLOW_STORE", ""),
        metavar="URL",
        help="database of the MLflow server, such as postgresql://…; default: SQLite in .servers",
    )
    own.add_argument("--basic-auth", action="store_true", help="MLflow asks for a name and a password")
    own.add_argument(
        "--gpus",
        type=int,
        default=os.environ.get("STILLHOUSE_GPUS"),
        metavar="N",
        help="GPU stages at a time, over all workers of the server; default: the GPUs of this machine, at least 1",
    )
    return own


if __name__ == "__main__":
    program.run(main)
