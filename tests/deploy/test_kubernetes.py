"""deploy/kubernetes.json, rendered as a worker renders it, is a Job that Kubernetes takes."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

TEMPLATE = json.loads((Path(__file__).parents[2] / "deploy" / "kubernetes.json").read_text(encoding="utf-8"))
NOBODY = "http://127.0.0.1:9/api"  # rendering asks no server
ASKED = {"image": "host/stillhouse:cuda", "gpus": 2, "memory_limit": "32Gi", "shared_memory": "8Gi"}


def rendered(**variables: Any) -> dict[str, Any]:
    """The manifest of a flow run with these job variables."""

    async def render() -> dict[str, Any]:
        client = PrefectClient(NOBODY)
        found = await KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, variables, client=client)
        found.prepare_for_flow_run(FlowRun(flow_id=uuid.uuid4(), name="compress"))
        return found.job_manifest

    return asyncio.run(render())


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    """The only one of its pod."""
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.37"])
def test_kubernetes_takes_it(version: str) -> None:
    assert kubernetes_validate.validate(rendered(**ASKED), version, strict=True) == version
    with pytest.raises(kubernetes_validate.ValidationError, match="nowhere"):
        wrong = rendered(**ASKED)
        wrong["spec"]["template"]["spec"]["nowhere"] = 1
        kubernetes_validate.validate(wrong, version, strict=True)


def test_it_asks_for_gpus_memory_and_shared_memory() -> None:
    manifest = rendered(**ASKED)
    only = container(manifest)
    assert only["image"] == "host/stillhouse:cuda" and only["args"] == ["prefect", "flow-run", "execute"]
    assert only["resources"]["limits"] == {"nvidia.com/gpu": 2, "memory": "32Gi"}
    assert only["volumeMounts"] == [{"name": "shm", "mountPath": "/dev/shm"}]
    shm = {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}}
    assert manifest["spec"]["template"]["spec"]["volumes"] == [shm]


def test_without_variables_it_asks_for_no_gpu_and_an_image_has_to_be_given() -> None:
    assert container(rendered(image="i"))["resources"]["limits"] == {"nvidia.com/gpu": 0}
    variables = TEMPLATE["variables"]
    assert variables["required"] == ["image"] and "default" not in variables["properties"]["image"]


def test_the_container_is_not_root_and_gets_secrets_from_the_cluster() -> None:
    manifest = rendered(**ASKED)
    pod, only = manifest["spec"]["template"]["spec"], container(manifest)
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 1000
    assert only["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert only["envFrom"] == [{"secretRef": {"name": "stillhouse", "optional": True}}]


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two trees differ: '+' what only ours has, '-' what only theirs has."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in [*ours, *(theirs.keys() - ours.keys())]:
            if key in ours and key in theirs:
                yield from differences(ours[key], theirs[key], f"{place}/{key}")
            else:
                yield f"{'+' if key in ours else '-'}{place}/{key}"
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{place}/{number}")
    elif ours != theirs:
        yield f"~{place}"


def test_it_is_prefects_own_template_but_for_what_is_said_here() -> None:
    job, pod = "/job_configuration/job_manifest/spec", "/job_configuration/job_manifest/spec/template/spec"
    only, variables = f"{pod}/containers/0", "/variables/properties"
    assert set(differences(TEMPLATE, KubernetesWorker.get_default_base_job_template())) == {
        # Prefect has these in the pod, where Kubernetes' schema knows none such.
        *(f"+{job}/{key}" for key in ("completions", "parallelism")),
        *(f"-{pod}/{key}" for key in ("completions", "parallelism")),
        *(f"+{pod}/{key}" for key in ("volumes", "securityContext", "terminationGracePeriodSeconds")),
        *(f"+{only}/{key}" for key in ("envFrom", "volumeMounts", "securityContext")),
        f"+{only}/resources/limits/nvidia.com/gpu",
        *(f"+{variables}/{key}" for key in ("gpus", "shared_memory", "secret", "grace_seconds")),
        *(f"-{variables}/image/{key}" for key in ("anyOf", "default")),
        *(f"~{variables}/image/{key}" for key in ("description", "examples/0")),
        *("+/variables/required", f"+{variables}/image/type", "~/variables/description"),
        f"~{variables}/finished_job_ttl/default",
    }
