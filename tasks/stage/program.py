"""What every stage program shares: its exit codes, and one clear line for what the user can put right.

exit 0   done
exit 1   a fault of ours: the traceback is the message
exit 2   a fault in the input: one line that names field and value; the same command would fail again
exit 75  passing trouble (EX_TEMPFAIL: GPU memory, disk space, network, SIGTERM): the same command may pass later
"""

import errno
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from stillhouse.errors import InputError, Preempted
from stillhouse.training.threads import limit_threads
from tasks.stage.secrets import hidden

EXIT_FAULT = 1
EXIT_INPUT = 2
EXIT_TRANSIENT = 75

MLFLOW_AWAY = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED")
# How safetensors and torch.save say that the disk is full: neither raises an OSError.
FULL_DISK = ("No space left on device", "PytorchStreamWriter failed writing", "inline_container.cc")


def run(main: Callable[[], None]) -> None:
    """Run a program's `main` and turn its exceptions into the exit codes above."""
    if ended := ending(main):
        leave(*ended)


def ending(main: Callable[[], None]) -> tuple[int, str] | None:
    """Run `main`; the exit code and the line that it ends with, None if it is done."""
    limit_threads()
    if not gc.isenabled():  # see tasks/__init__.py
        gc.freeze()
        gc.enable()
    try:
        main()
    except InputError as error:
        return EXIT_INPUT, str(error)
    except Preempted as error:
        return EXIT_TRANSIENT, f"{error}; run the same command again"
    except (ConnectionError, TimeoutError) as error:
        return EXIT_TRANSIENT, f"network: {error}; run the same command again"
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = error.filename or Path.cwd()
        return EXIT_TRANSIENT, f"no disk space left at {where}: free some and run the same command again"
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":
            said = _first_line(error)
            return EXIT_TRANSIENT, f"out of GPU memory: lower 'batch_size' or wait for the card ({said})"
        # Known by its module: MLflow takes seconds to import.
        if type(error).__module__ == "mlflow.exceptions":
            return _ending_of_mlflow(error)
        if any(text in str(error) for text in FULL_DISK):
            return EXIT_TRANSIENT, "no disk space left: free some and run the same command again"
        raise
    return None


def _ending_of_mlflow(error: Exception) -> tuple[int, str]:
    """Of what MLflow raises where nobody foresaw it: it is away, or somebody else has changed what it holds."""
    code, said = getattr(error, "error_code", ""), _first_line(error)[:300]
    if code in MLFLOW_AWAY:
        return EXIT_TRANSIENT, f"MLflow does not answer as it should ({code}: {said}); run the same command again"
    return (
        EXIT_INPUT,
        f"MLflow refuses ({code}: {said}): see what was changed or deleted there",
    )


def environment(**own: str) -> dict[str, str]:
    """This process's variables and `own`, for one that starts `python -m tasks.…` or `flows.…` from any folder."""
    home = str(Path(__file__).parents[2])
    paths = os.pathsep.join(part for part in (home, os.environ.get("PYTHONPATH")) if part)
    return os.environ | {"PYTHONPATH": paths} | own


def leave(code: int, message: str) -> NoReturn:
    """End the process with one line."""
    print(f"error: {hidden(_first_line(message))}", file=sys.stderr, flush=True)
    raise SystemExit(code)


def _first_line(message: object) -> str:
    # What a file holds may be no text that can be printed.
    return " ".join(str(message).split()).encode("utf-8", "backslashreplace").decode()
