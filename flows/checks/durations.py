"""How long each stale stage took in the last run of it that MLflow has."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.checks.finding import Finding, Setup, ok, reason, warning, within
from flows.dag.graph import stale
from flows.registry.versions import reach_store
from tasks.tracking.store import shown_uri, tracking_uri

LOCKED = 15.0  # seconds for DVC to look at every stage; a lock that another process holds takes longer
ANSWERED = 30.0  # seconds for MLflow to be imported and asked


def durations(setup: Setup) -> Iterator[Finding]:
    """A line for each stale stage that has run before, and one for those that have not."""
    if not setup.graph:
        yield warning("durations", "without a valid dvc.yaml no stage is known")
        return
    try:
        outdated = within(LOCKED, lambda: stale(setup.root, setup.stages, refresh=False))
    except TimeoutError:
        remedy = "wait for the dvc that runs here"
        yield warning("durations", f"DVC did not say in {LOCKED:.0f} s what is stale", remedy)
        return
    names = [stage.name for stage in setup.stages if stage.name in outdated]
    if not names:
        yield ok("durations", f"all {len(setup.stages)} stages are up to date")
        return
    try:
        runs = within(ANSWERED, lambda: last_runs(names))
    except (ConnectionError, TimeoutError) as error:
        yield warning("durations", f"{len(names)} stages are stale; how long they took is not known ({reason(error)})")
        return
    for name, (seconds, ended) in runs.items():
        yield ok("durations", f"{name}: {_shown(seconds)} on {time.strftime('%Y-%m-%d', time.gmtime(ended))}")
    if new := [name for name in names if name not in runs]:
        yield ok("durations", f"not run yet: {', '.join(new)}")


def last_runs(names: Sequence[str]) -> dict[str, tuple[float, float]]:
    """Of each of these stages that has finished before: how long its newest finished run took, and when it ended.

    Returns:
        Seconds, and seconds of the epoch.

    Raises:
        ConnectionError: MLflow cannot be reached.
    """
    if not _has_tables(tracking_uri()):
        return {}
    client, experiment = reach_store()
    from mlflow.exceptions import MlflowException

    found = {}
    for name in names:
        try:
            runs = client.search_runs(
                [experiment],
                f"tags.stage = '{name}' and attributes.status = 'FINISHED'",
                order_by=["attributes.end_time DESC"],
                max_results=1,
            )
        except MlflowException as error:
            raise ConnectionError(f"MLflow at {shown_uri()}: {type(error).__name__}") from None
        for run in runs:
            found[name] = ((run.info.end_time - run.info.start_time) / 1000, run.info.end_time / 1000)
    return found


def _has_tables(uri: str) -> bool:
    """Whether a store has runs at all: MLflow makes tables in an empty database, and the doctor changes nothing."""
    if uri.startswith("http"):
        return True
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        return False
    from sqlalchemy import create_engine, inspect
    from sqlalchemy.exc import SQLAlchemyError

    try:
        with create_engine(uri).connect() as connection:
            return inspect(connection).has_table("experiments")
    except (SQLAlchemyError, ImportError) as error:
        # The type alone: the text of an error may hold a URI with a password in it.
        raise ConnectionError(f"MLflow at {shown_uri()}: {type(error).__name__}") from None


def _shown(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
