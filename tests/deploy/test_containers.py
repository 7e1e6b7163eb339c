"""What Dockerfile, compose.yaml and the devcontainer promise: no root, no secret, no port of another machine's."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tasks.stage.params import read_yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = read_yaml(ROOT / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
# A value that has to be given, with what to do about it: no default stands in.
GIVEN = re.compile(r"\$\{(\w+):\?[^}]{20,}\}")
ASKED = {"POSTGRES_PASSWORD", "S3_SECRET_KEY", "STILLHOUSE_REPOSITORY"}


def instructions(stage: str) -> list[tuple[str, str]]:
    """Those of one stage of the Dockerfile, each with what stands behind it: '' is the last stage."""
    joined = re.sub(r"\\\n", " ", re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE))
    lines = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    starts = [number for number, line in enumerate(lines) if line[0] == "FROM"]
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        if lines[start][1].partition(" AS ")[2] == stage:
            return [(word, rest) for word, rest in lines[start:end]]
    raise AssertionError(f"no stage {stage!r}")


def test_the_image_runs_as_a_user_that_is_not_root_and_is_asked_for_its_health() -> None:
    last = dict(instructions(""))
    assert last["USER"] == "1000:1000" and "--uid 1000" in dict(instructions("system"))["RUN"]
    assert "http://127.0.0.1:8080/health" in last["HEALTHCHECK"] and "--with-healthcheck" not in last["ENTRYPOINT"]
    assert json.loads(last["CMD"])[-1] == "--with-healthcheck"


def test_nothing_but_what_is_to_be_installed_goes_to_the_builder() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    assert [line for line in lines if line and line[0] not in "#!"] == ["*"]
    copied = [rest for word, rest in instructions("environment") if word == "COPY"]
    assert [each.split() for each in copied] == [[*allowed, "./"]]
    assert not [rest for word, rest in instructions("system") + instructions("") if word == "ADD"]
    assert [rest for word, rest in instructions("") if word == "COPY"] == ["--from=environment /opt/venv /opt/venv"]


def test_the_image_has_what_constraints_pin_and_pips_configuration_for_one_step() -> None:
    run = [rest for word, rest in instructions("environment") if word == "RUN"]
    assert len(run) == 1 and "--constraint constraints.txt" in run[0]
    assert run[0].startswith("--mount=type=secret,id=pip,target=/etc/pip.conf ")
    extras = dict(re.findall(r"^ARG (\w+)=(.*)$", DOCKERFILE, re.MULTILINE))["EXTRAS"].split(",")
    assert set(extras) <= set(re.findall(r"^(\w+) = \[", (ROOT / "pyproject.toml").read_text(), re.MULTILINE))
    assert "pipeline" in extras


def test_the_base_has_the_python_that_is_tested() -> None:
    (python,) = re.findall(r"^ARG BASE=\S+/python:(\d+\.\d+)-", DOCKERFILE, re.MULTILINE)
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'python-version: "([^"]+)"', workflow)) == {python}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_open_to_this_machine_alone(name: str) -> None:
    service = SERVICES[name]
    assert [port for port in service.get("ports", []) if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port)] == []
    assert not {"network_mode", "privileged", "pid", "cap_add", "user"} & set(service)


def test_the_services_are_these_and_images_of_others_have_a_version() -> None:
    assert set(SERVICES) == {"postgres", "s3", "bucket", "prefect", "mlflow", "worker", "worker-gpu", "deploy"}
    assert [bool(each.get("ports")) for each in SERVICES.values()].count(True) == 2
    images = {each["image"] for each in SERVICES.values()} - {"stillhouse", "stillhouse:cuda"}
    assert [image for image in images if not re.search(r":\d[\w.-]*$", image)] == [] and len(images) == 2


def test_what_is_secret_comes_from_env_and_is_refused_when_absent() -> None:
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8")
    assert set(GIVEN.findall(text)) == ASKED
    # What stands elsewhere without `:?` is refused by the line that has it.
    assert set(re.findall(r"\$\{(\w+)", text)) == ASKED | {"STILLHOUSE_BRANCH"}
    told = [line for service in SERVICES.values() for line in service.get("environment", {}).items()]
    secret = [(key, value) for key, value in told if re.search("PASSWORD|SECRET|TOKEN|STORE_URI", key)]
    assert len(secret) >= 5 and [key for key, value in secret if not re.search(r"\$\{\w+[:}]", value)] == []
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == ASKED and not re.search(r"^\w+=.+", example, re.M)
    ignored = subprocess.run(["git", "check-ignore", ".env"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ignored.stdout == ".env\n"


def test_a_container_waits_for_what_it_needs_to_be_well() -> None:
    for name, service in SERVICES.items():
        for needed, told in service.get("depends_on", {}).items():
            condition = told["condition"]
            own = service["image"].startswith("stillhouse")
            assert own and needed in SERVICES, name
            if condition == "service_healthy":
                # Our image's own check is that of a worker.
                assert "test" in SERVICES[needed]["healthcheck"], needed
    assert SERVICES["worker"]["depends_on"].keys() == {"prefect", "mlflow"}


def test_the_devcontainer_is_the_dockerfiles_system_with_the_environment_of_any_clone() -> None:
    text = (ROOT / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    told = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))
    build = told["build"]
    assert (ROOT / ".devcontainer" / build["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert instructions(build["target"]) and told["remoteUser"] in dict(instructions("system"))["RUN"]
    assert "VENV" not in told["containerEnv"] and told["postCreateCommand"] == "make .venv/ready"
