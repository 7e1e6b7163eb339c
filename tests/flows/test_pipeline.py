"""What the flows refuse before anything runs."""

import json
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows import pipeline
from flows.dag.graph import load_graph
from stillhouse.errors import InputError
from tests.flows.conftest import Toy
from tests.flows.dag.test_remote import point_to


def test_a_stage_to_run_again_that_the_recipe_has_not_is_named_with_those_it_has(recipe_project: Path) -> None:
    with pytest.raises(
        InputError, match=r"again = \['no-such'\]: choose among the recipe's stages, prepare, teacher"
    ) as no:
        pipeline.compress.fn("hinton", again=["no-such"])
    assert "\n" not in str(no.value) and not (recipe_project / "models").exists()


def test_a_source_that_a_stage_writes_is_refused_even_where_stage_code_has_run(
    recipe_project: Path,
) -> None:
    # As a link that was put elsewhere after stage `code` had looked.
    (recipe_project / "models/hinton").mkdir(parents=True)
    (recipe_project / "mine").symlink_to("models/hinton")
    tree = json.loads((recipe_project / "params.yaml").read_text())
    (recipe_project / "params.yaml").write_text(json.dumps(tree | {"teacher": {"model": "mine"}}))
    with pytest.raises(InputError, match=r"teacher\.model = 'mine' is, holds or lies in 'models/hinton'"):
        pipeline.run_stages(recipe_project, [], {})


def test_a_promotion_of_nothing_asks_for_a_recipe() -> None:
    with pytest.raises(InputError, match="recipe is missing: give its slug, or rollback"):
        pipeline.promote.fn()


def test_a_pool_needs_a_server_a_remote_and_stages_that_any_machine_can_run(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = toy({"a": {"cmd": "cp seed a", "deps": ["seed"], "outs": ["a"]}}, seed="s")
    stages = load_graph(root)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    with pytest.raises(InputError, match="pool = 'gpus': workers need a Prefect server: make up"):
        pipeline.run_stages(root, stages, {}, pool="gpus")
    with pytest.raises(InputError, match=r"again = \['a'\]: run that without pool = 'gpus'"):
        pipeline.run_stages(root, stages, {}, ["a"], "gpus")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        with pytest.raises(InputError, match="there is none: dvc remote add --default NAME URL"):
            pipeline.run_stages(root, stages, {}, pool="gpus")
        point_to(root, "/nowhere")
        with pytest.raises(InputError, match=r"runners run a commit, and .* is in no git repository"):
            pipeline.run_stages(root, stages, {}, pool="gpus")
