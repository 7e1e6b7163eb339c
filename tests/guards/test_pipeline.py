"""Every recipe has all its pieces, and dvc.yaml, params.yaml, prefect.yaml and the README agree about them."""

import ast
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from flows.checks.blocks import SHARED, model_of
from tasks.kinds.find import kind_names
from tasks.phases.recipe import load_recipe
from tasks.stage.command_words import command_words
from tasks.stage.modules import modules_of
from tasks.stage.outside import SOURCES
from tasks.stage.params import load

ROOT = Path(__file__).parents[2]
RECIPES = 21
KIND_CODE, KIND_NUMBERS = "code/kinds/${data.kind}", "kinds.${data.kind}"
# What names stages and stands empty in params.yaml.
FILLED = {"ensemble": {"one": {"seed": 1}}, "export": {"of": {"hinton": {}}}}
LOOP = Path("stillhouse/training/loop.py")


@cache
def read(name: str) -> dict:
    return YAML(typ="safe", pure=True).load((ROOT / name).read_text(encoding="utf-8"))


def recipes() -> list[str]:
    return list(read("dvc.yaml")["stages"]["report"]["foreach"])


def stages() -> dict[str, dict]:
    """All stages but `code`, those of a `foreach` once."""
    found = {name: stage.get("do", stage) for name, stage in read("dvc.yaml")["stages"].items()}
    del found["code"]
    return found


def words(stage: dict) -> list[str]:
    found = stage["cmd"].split()
    assert found[:2] == ["python", "-m"]
    return found[2:]


def program(stage: dict) -> str:
    return words(stage)[0].removeprefix("tasks.")


def runs_recipe(stage: dict) -> str | None:
    """The slug of the recipe whose module a stage's program loads: its first word, where it loads any."""
    loads = Path("tasks/phases/recipe.py") in modules_of(ROOT, words(stage)[0])
    names = imported_names(ROOT / "tasks" / f"{program(stage)}.py")
    return words(stage)[1] if loads and {"load_phase", "load_recipe"} & names else None


def asks_a_kind(stage: dict) -> bool:
    """Whether a stage's program is of a task, whose kind it finds by name: the corpus has none."""
    finds = Path("tasks/kinds/find.py") in modules_of(ROOT, words(stage)[0])
    return finds and program(stage) != "corpus_phase" and words(stage)[1] not in ("corpus", "pairs")


def imported_names(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_there_are_as_many_recipes_as_the_tests_know_of():
    assert len(recipes()) == len(set(recipes())) == RECIPES, "a new recipe? then RECIPES is one more"


def test_dvc_yaml_is_short_enough_to_be_read():
    # The first number is the tail's, once for all recipes, and what they share; then a dozen lines a recipe.
    room = 473 + 12 * (len(recipes()) - 19)
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= room, (
        "write it shorter: see docs/dag.md"
    )
    assert all("desc" in stage for stage in stages().values())


def test_every_stage_depends_on_the_code_of_its_program_and_of_its_recipe():
    seen = 0
    for name, stage in stages().items():
        recipe = runs_recipe(stage)
        wanted = {f"code/{program(stage)}", *([f"code/recipes/{recipe}"] if recipe else [])}
        wanted |= {KIND_CODE} if asks_a_kind(stage) else set()
        assert {dep for dep in stage["deps"] if dep.startswith("code")} == wanted, name
        assert not [dep for dep in stage["deps"] if dep.endswith(".py")], name
        seen += 1
    assert seen >= 48


def test_every_stage_that_trains_takes_a_gpus_slot():
    training = {name for name, stage in stages().items() if LOOP in modules_of(ROOT, words(stage)[0])}
    assert len(training) > 25
    # These compute on a GPU too: a masked LM's candidates, and Fisher information.
    wanted = training | {"augment", "lowrank-factorize", "smallest-factorize"}
    assert {name for name, stage in stages().items() if (stage.get("meta") or {}).get("gpu")} == wanted


def test_every_block_of_params_is_known_and_valid():
    blocks = read("params.yaml")
    assert set(blocks) == {*SHARED, *recipes()}
    for block in blocks:
        load(block, model_of(block), ROOT / "params.yaml")


def test_what_is_merged_is_plain_so_an_experiment_changes_one_place():
    shared = read("params.yaml")["shared"]
    assert len(shared) > 10
    assert not [name for name, block in shared.items() for value in block.values() if isinstance(value, dict | list)]


@pytest.mark.parametrize("profile", sorted((ROOT / "profiles").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_profile_gives_valid_params(profile, tmp_path):
    from tasks.profile import apply, read_profile

    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    apply([read_profile(profile.stem, ROOT / "profiles")], params)
    for block in read("params.yaml"):
        load(block, model_of(block), params)


def test_the_profiles_that_the_readme_names_are_there():
    line = next(line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if "profiles/  " in line)
    named = line.partition("params.yaml: ")[2].removesuffix(", …").split(", ")
    assert {f"{name}.yaml" for name in named} < {file.name for file in (ROOT / "profiles").glob("*.yaml")}
    shipped = [file for file in (ROOT / "profiles").glob("*.yaml") if file.stem != "found"]  # what a search has written
    assert len(named) > 5 and len(shipped) == 28


def test_every_parameter_that_a_stage_tracks_exists():
    blocks, seen = read("params.yaml"), 0
    for name, stage in stages().items():
        for key in stage.get("params", []):
            several = {KIND_NUMBERS: [f"kinds.{kind}" for kind in kind_names()]}
            several |= {"finish.of.${key}": [f"finish.of.{recipe}" for recipe in recipes()]}
            several |= {"export.of.${key}": ["export.of"]}  # nobody's, unless asked for
            for tracked in several.get(key, [key]):
                tree = blocks
                for part in tracked.split("."):
                    assert part in tree, f"{name}: {tracked}"
                    tree = tree[part]
                seen += 1
    assert seen > 30


def test_every_stage_that_reads_the_task_tracks_the_numbers_of_its_kind():
    seen = 0
    for name, stage in stages().items():
        reads = Path("tasks/kinds/find.py") in modules_of(ROOT, words(stage)[0]) and "data/task" in stage["deps"]
        numbers = reads and not program(stage).startswith("augment")  # those read which columns are text, no more
        assert (KIND_NUMBERS in stage.get("params", [])) == numbers, name
        seen += numbers
    assert seen > 25


def test_the_first_stage_looks_at_every_source_from_outside_and_every_word_of_a_command():
    words_of_commands = {key for _, key, _ in command_words(read("dvc.yaml"), read("params.yaml") | FILLED)}
    words_of_commands = {key for key in words_of_commands if not key.startswith("dvc.yaml")}
    assert {"ensemble", "hinton.distill.rows", "int8.quantize.source"} <= words_of_commands
    looked_at = read("dvc.yaml")["stages"]["code"]["params"]
    assert sorted(looked_at) == sorted({*SOURCES, *words_of_commands, "data.kind"})


# What a program reads only where its command leaves an option away.
UNLESS = {("task_phase", "teacher.model"): "--teacher"}
# What it only checks (an ensemble's seeds come by the command), or reads no more of than its stage tracks.
CHECKED = {
    ("finetune", "ensemble"),
    ("evaluate", "train"),
    ("finish", "finish"),
    ("formats", "export"),
    ("formats", "train"),
}


def blocks_read(file: Path) -> Iterator[str]:
    """The blocks that a module loads, as `train`, or `evaluate.metric` where it takes no more than that."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        whole = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "load"
        if whole and node.args and isinstance(node.args[0], ast.Constant):
            parents = [each for each in ast.walk(tree) if isinstance(each, ast.Attribute) and each.value is node]
            yield ".".join([node.args[0].value, *(parent.attr for parent in parents)])


def phase_block(stage: dict) -> set[str]:
    """The block of its recipe that a stage reads: that of its phase."""
    recipe, given = runs_recipe(stage), words(stage)
    if recipe is None:
        return set()
    default = {"task_phase": "distill", "corpus_phase": "general", "structured": "retrain"}
    named = given[given.index("--phase") + 1] if "--phase" in given else default.get(program(stage), program(stage))
    assert named in load_recipe(recipe).Params.model_fields, stage["cmd"]
    return {f"{recipe}.{named}"}


def test_a_stage_tracks_the_parameters_that_its_phase_reads():
    seen = 0
    for name, stage in stages().items():
        tracked = set(stage.get("params", []))
        wanted = phase_block(stage)
        for block in blocks_read(ROOT / "tasks" / f"{program(stage)}.py"):
            option = UNLESS.get((program(stage), block))
            if (program(stage), block) not in CHECKED and not (option and option in words(stage)):
                wanted.add(block)
        if program(stage) == "evaluate" and "--teacher" not in words(stage):  # only a student has a budget
            wanted.discard("budget")
        if program(stage) == "prepare":  # reads the one block of what it is called for
            wanted &= {"data" if words(stage)[1] == "task" else "corpus"}
        for block in wanted:
            parts = block.split(".")
            assert {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & tracked, f"{name} does not track {block}"
            seen += 1
    assert seen > 60


@pytest.mark.parametrize("recipe", recipes())
def test_a_recipe_has_all_its_pieces(recipe):
    foreach = read("dvc.yaml")["stages"]
    for tail in ("export", "evaluate", "report"):
        assert recipe in foreach[tail]["foreach"]
    assert recipe in read("params.yaml")["finish"]["of"], "its finished form has a line in finish.of"
    assert f"models/{recipe}" in foreach[recipe]["outs"]
    assert "data/task" in foreach[recipe]["deps"]
    assert recipe in read("params.yaml")
    assert (ROOT / "tasks" / "recipes" / f"{recipe.replace('-', '_')}.py").is_file()
    deployments = {(d["entrypoint"].split(":")[1], d["name"]): d for d in read("prefect.yaml")["deployments"]}
    assert ("compress", recipe) in deployments, f"prefect.yaml has no deployment '{recipe}': add a line"
    assert deployments["compress", recipe]["parameters"] == {"recipe": recipe}
    assert deployments["compress", recipe]["description"]
    assert f"| [`{recipe}`](" in (ROOT / "README.md").read_text(encoding="utf-8"), f"README has no row '{recipe}'"


def test_the_readmes_tree_names_every_top_level_entry():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    kept = ["params.yaml", "dvc.yaml", "prefect.yaml", "flows", "tasks", "stillhouse", "tests", "benchmarks"]
    kept += ["profiles", "mlruns", "docs", "Makefile"]
    for entry in [*kept, "pyproject.toml", "constraints.txt"]:
        assert (ROOT / entry).exists() and entry in text, entry


def test_no_folder_is_too_full_to_be_taken_in():
    listed = subprocess.run(
        ["git", "ls-files", "stillhouse", "tasks", "flows"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    folders = [str(Path(file).parent) for file in listed if file.endswith(".py")]
    assert len(set(folders)) > 20
    full = {folder: folders.count(folder) for folder in folders if folders.count(folder) > 26}
    assert set(full) <= {"stillhouse/methods", "tasks/recipes"}, full
