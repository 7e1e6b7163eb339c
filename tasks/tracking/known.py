"""What MLflow's pages have columns for: a run's source and commit, and the data that it read.

Made of a run's own tags by the process that sends it, so that stages know nothing of MLflow.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tasks.tracking.provenance import dvc_hashes

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

DATA = "md5.data/"  # how the tags begin that hold a digest of data


def source_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Where a run came from, in MLflow's words: what ran it, and the commit."""
    what = f"dvc repro {tags['stage']}" if "stage" in tags else f"python -m flows.{tags.get('kind', '')}"
    found = {"mlflow.source.name": what, "mlflow.source.type": "LOCAL"}
    if commit := tags.get("git_commit"):
        found["mlflow.source.git.commit"] = commit
    return found


def log_data(client: "MlflowClient", run_id: str, tags: Mapping[str, str]) -> None:
    """Log each folder of data among a run's tags as a dataset: its name, DVC's digest, and the rows of each split."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    context = "evaluation" if tags.get("kind") == "evaluate" else "training"
    inputs = []
    for tag, digest in tags.items():
        if tag.startswith(DATA):
            name = tag.removeprefix("md5.")
            sizes = rows_of(Path(name), digest)
            dataset = Dataset(
                name=name,
                digest=digest.removesuffix(".dir"),
                source_type="local",
                source=json.dumps({"uri": name}),
                profile=json.dumps(sizes) if sizes else None,
            )
            inputs.append(DatasetInput(dataset, [InputTag("mlflow.data.context", context)]))
    if inputs:
        client.log_inputs(run_id, datasets=inputs)


def rows_of(folder: Path, digest: str) -> dict[str, int]:
    """How many rows each file of data has; empty where what lies there is no longer what the digest is of."""
    from pyarrow import ArrowException, parquet

    if dvc_hashes().get(folder.as_posix()) != digest:
        return {}
    try:
        return {file.stem: parquet.read_metadata(file).num_rows for file in sorted(folder.glob("*.parquet"))}
    except (ArrowException, OSError):
        return {}  # a stage is writing it anew
