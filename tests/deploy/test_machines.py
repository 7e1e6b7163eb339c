"""deploy/machines.yaml is what Kubernetes takes, and says to each pod which machine it is."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from ruamel.yaml import YAML

from tasks.stage.machines import Machine, this_machine

FILE = Path(__file__).parents[2] / "deploy" / "machines.yaml"
service, job = YAML(typ="safe", pure=True).load_all(FILE.read_text(encoding="utf-8"))


def container() -> dict[str, Any]:
    """The only one of its pods."""
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("version", ["1.30", "1.34", "1.37"])
def test_kubernetes_takes_it(version: str) -> None:
    for manifest in (service, job):
        assert kubernetes_validate.validate(manifest, version, strict=True) == version


def test_each_pod_is_told_which_machine_it_is_and_where_the_first_is() -> None:
    spec, name = job["spec"], job["metadata"]["name"]
    told = {each["name"]: each["value"] for each in container()["env"]}
    machines = int(told["STILLHOUSE_MACHINES"])
    assert spec["completionMode"] == "Indexed" and spec["completions"] == spec["parallelism"] == machines == 2
    for index in range(machines):
        found = this_machine(machines, told | {"JOB_COMPLETION_INDEX": str(index)})
        # The name that Kubernetes gives the pod of index 0, within the service that pods are in.
        assert found == Machine(index, machines, f"{name}-0.{service['metadata']['name']}", 29500, False)


def test_its_service_is_headless_and_finds_its_pods_before_they_are_ready() -> None:
    pod = job["spec"]["template"]
    assert service["spec"]["clusterIP"] == "None" and service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["subdomain"] == service["metadata"]["name"]


def test_a_fault_in_the_input_is_not_tried_again() -> None:
    (rule,) = job["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob" and rule["onExitCodes"]["values"] == [2]
    assert rule["onExitCodes"]["containerName"] == container()["name"]


def test_its_container_is_not_root() -> None:
    assert job["spec"]["template"]["spec"]["securityContext"]["runAsUser"] == 1000
    assert container()["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
