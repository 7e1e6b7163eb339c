"""Every recipe has all its pieces, and dvc.yaml, params.yaml, prefect.yaml and the README agree about them."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.checks.blocks import SHARED, model_of
from flows.deps import module_deps, stated_modules
from tasks.stage.params import load

ROOT = Path(__file__).parents[2]
RECIPES = 21


def read(name: str) -> dict:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def recipes() -> list[str]:
    return list(read("dvc.yaml")["stages"]["report"]["foreach"])


def stages() -> dict[str, dict]:
    return {name: stage.get("do", stage) for name, stage in read("dvc.yaml")["stages"].items()}


def test_there_are_as_many_recipes_as_the_tests_know_of():
    assert len(recipes()) == len(set(recipes())) == RECIPES


def test_every_stage_states_the_modules_that_it_runs_and_no_others():
    seen = 0
    for name, stage in stages().items():
        seen += 1
        assert stated_modules(stage) == module_deps(ROOT, stage["cmd"]), f"{name}: run `make deps`"
    assert seen == 55


def test_every_stage_that_trains_takes_a_gpus_slot():
    training = {name for name, stage in stages().items() if "stillhouse/training/loop.py" in stage["deps"]}
    assert len(training) > 25
    # These compute on a GPU too: a masked LM's candidates, and Fisher information.
    wanted = training | {"augment", "lowrank-factorize"}
    assert {name for name, stage in stages().items() if (stage.get("meta") or {}).get("gpu")} == wanted


def test_every_block_of_params_is_known_and_valid():
    blocks = read("params.yaml")
    assert set(blocks) == set(SHARED) | set(recipes())
    for block in blocks:
        load(block, model_of(block), ROOT / "params.yaml")


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_profile_gives_valid_params(profile, tmp_path):
    from tasks.profile import apply, read_profile

    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    apply([read_profile(profile.stem, ROOT / "profiles")], params)
    for block in read("params.yaml"):
        load(block, model_of(block), params)


def test_there_are_as_many_profiles_as_the_readme_says():
    assert len(list((ROOT / "profiles").glob("*.yaml"))) == 11


def test_every_parameter_that_a_stage_tracks_exists():
    blocks, seen = read("params.yaml"), 0
    for name, stage in stages().items():
        for key in stage.get("params", []):
            for tracked in kinds_of(name, key):
                tree = blocks
                for part in tracked.split("."):
                    assert part in tree, f"{name}: {tracked}"
                    tree = tree[part]
                seen += 1
    assert seen > 30


def kinds_of(stage: str, key: str) -> set[str]:
    """A tracked parameter, or, where it is `${item.…}`, what stands there for each kind of task."""
    if not key.startswith("${"):
        return {key}
    found = {
        kind[key.removeprefix("${item.").removesuffix("}")]
        for kind in read("dvc.yaml")["stages"][stage]["foreach"].values()
    }
    assert len(found) == 2
    return found


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_has_all_its_pieces(recipe):
    foreach = read("dvc.yaml")["stages"]
    for tail in ("export", "evaluate", "report"):
        assert recipe in foreach[tail]["foreach"]
    assert f"models/{recipe}" in foreach[recipe]["outs"]
    kind = foreach["report"]["foreach"][recipe]
    assert kind == foreach["evaluate"]["foreach"][recipe] and kind["data"] in foreach[recipe]["deps"]
    for name in ("compare", "compare-qa"):
        with_it = foreach[name]["cmd"].split()[3].endswith(f"/{kind['teacher']}")
        assert (f"reports/{recipe}/metrics.json" in foreach[name]["deps"]) == with_it
        assert (f"reports/{recipe} " in f"{foreach[name]['cmd']} ") == with_it
    assert recipe in read("params.yaml")
    assert (ROOT / "tasks" / "recipes" / f"{recipe.replace('-', '_')}.py").is_file()
    deployments = {(d["entrypoint"].split(":")[1], d["name"]): d for d in read("prefect.yaml")["deployments"]}
    assert deployments["compress", recipe]["parameters"] == {"recipe": recipe}
    assert f"| [`{recipe}`](" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readmes_tree_names_every_top_level_entry():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    kept = ["params.yaml", "dvc.yaml", "prefect.yaml", "flows", "tasks", "stillhouse", "tests", "benchmarks"]
    kept += ["profiles", "mlruns", "docs", "Makefile"]
    for entry in [*kept, "pyproject.toml", "constraints.txt"]:
        assert (ROOT / entry).exists() and entry in text, entry
