"""A key of params.yaml that stood elsewhere before is told where it is now."""

import pytest

from stillhouse.errors import InputError
from tasks.phases.moved import places, refuse_moved
from tasks.phases.recipe import load_phase, load_recipe
from tasks.profile import apply
from tests.tasks import project


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("hinton.student.layers", ["hinton.distill.student.layers"]),
        ("hinton.distill.epochs", ["hinton.distill.phase.epochs"]),
        ("tinybert.layer_map", ["tinybert.general.layer_map", "tinybert.intermediate.layer_map"]),
        ("tinybert.general", ["tinybert.general.phase"]),
        ("prune-recover.recover.epochs", ["prune-recover.prune.phase.epochs"]),
        ("int8.source", ["int8.quantize.source"]),
        ("int8.train", ["int8.quantize.phase"]),
        ("smallest.lowrank.ranks.embedding", ["smallest.factorize.ranks.embedding"]),
        ("smallest.structured.gates.epochs", ["smallest.gates.phase.epochs"]),
        ("smallest.retrain.retrain.seed", ["smallest.retrain.phase.seed"]),
        ("hinton.nothing", []),
    ],
)
def test_a_former_key_is_found_where_it_is_now(before, now):
    assert places(before, load_recipe(before.split(".")[0]).Params) == now


def test_a_stage_refuses_a_block_of_before_in_one_line_that_says_where_its_keys_are(tmp_path):
    file = project.params(tmp_path, **{"hinton.alpha": 0.5, "hinton.distill.epochs": 3, "theseus.finetune": None})
    with pytest.raises(InputError) as refused:
        load_phase("hinton", "distill", file)
    assert "hinton.alpha is now hinton.distill.alpha" in str(refused.value)
    assert "hinton.distill.epochs is now hinton.distill.phase.epochs" in str(refused.value)
    with pytest.raises(InputError, match=r"theseus.finetune is now theseus.finetune.phase"):
        load_phase("theseus", "replace", file)


def test_blocks_of_today_pass(tmp_path):
    file = project.params(tmp_path)
    for slug in ("hinton", "tinybert", "smallest"):
        refuse_moved(slug, load_recipe(slug).Params, file)
    with pytest.raises(InputError, match="recipe 'hinton' has no phase 'general': it has distill"):
        load_phase("hinton", "general", file)


def test_a_profile_of_before_is_told_where_its_key_is_now(tmp_path):
    file = project.params(tmp_path)
    before = file.read_bytes()
    with pytest.raises(InputError, match=r"params\.yaml has no such key: it is now hinton\.distill\.student"):
        apply([{"hinton": {"student": {"layers": 2}}}], file)
    assert file.read_bytes() == before
