"""The registered model as one that its run has made: MLflow's list of runs shows it, and a model's page the versions.

MLflow's own way keeps a model's files with this record, and lets the version point to it. Ours lie in the run, where
versions of former releases have theirs: the record holds what the model is and what it was judged by, and no file.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tasks.evaluation.forms import shown_name

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.tracking import MlflowClient

SAID = ("recipe", "form", "kind", "task_metric", "split")
FIGURES = ("value", "kept", "checkpoint_bytes", "onnx_bytes", "latency_p50_ms")
VERSIONS = "mlflow.modelVersions"  # a tag that MLflow's pages read


def link(client: "MlflowClient", version: "ModelVersion", run_id: str, facts: Mapping[str, str]) -> None:
    """Say in a run that it made a version's model, with the figures of its last evaluation; twice is as once."""
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus

    run = client.get_run(run_id)
    experiment = run.info.experiment_id
    known = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run_id}'")
    if known:
        model_id = known[0].model_id
    else:
        what = {name: facts[name] for name in SAID}
        model_id = client.create_logged_model(experiment, shown_name(facts), run_id, params=what).model_id
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)
    client.set_logged_model_tags(
        model_id, {VERSIONS: json.dumps([{"name": version.name, "version": str(version.version)}])}
    )
    if not (run.outputs and run.outputs.model_outputs):
        client.log_outputs(run_id, [LoggedModelOutput(model_id, step=0)])
    for figure in FIGURES:
        client.log_metric(run_id, figure, float(facts[figure]), model_id=model_id)
