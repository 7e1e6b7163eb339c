import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stillhouse.errors import InputError
from tasks.profile import PROFILES, apply, list_profiles, local_overlays, read_profile
from tasks.sources.blocks import DataParams
from tasks.sources.make_corpus import CorpusParams
from tasks.stage.params import PARAMS, load, read_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = ["bert-base", "cpu", "minilm", "smallest", "smoke"]
GLUE = {
    "cola": "matthews", "mnli": "accuracy", "mnli-mm": "accuracy", "mrpc": "f1", "qnli": "accuracy", "qqp": "f1",
    "rte": "accuracy", "sst2": "accuracy", "stsb": "pearson", "wnli": "accuracy",
}  # fmt: skip
TASKS = {
    **GLUE,
    "docstrings": "accuracy",
    "docstring-parameters": "micro_f1",
    "docstring-questions": "f1",
    **dict.fromkeys(("docstring-sections", "wnut17", "wikiann-en", "conll2003"), "micro_f1"),
    "goemotions": "micro_f1",
    "sick": "accuracy",
    "sick-scores": "pearson",
    "squad2": "f1",
}
KINDS = {
    "goemotions": "multi-label",
    "docstring-parameters": "multi-label",
    "stsb": "scores",
    "sick-scores": "scores",
    "docstring-questions": "answers",
    "squad2": "answers",
    **dict.fromkeys(("docstring-sections", "wnut17", "wikiann-en", "conll2003"), "tokens"),
}


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """A copy of the project's params.yaml, back at the built-in task whatever profile is on it now."""
    copy = Path(shutil.copy(ROOT / PARAMS, tmp_path / "params.yaml"))
    lay(copy, "docstrings", "minilm")
    return copy


def lay(params: Path, *names: str) -> list[tuple[str, object, object]]:
    return apply([read_profile(name, ROOT / PROFILES) for name in names], params)


def test_every_shipped_profile_fits_params_yaml_and_says_what_it_is_for(params: Path, tmp_path: Path) -> None:
    profiles = list_profiles(ROOT / PROFILES)
    assert {*SHIPPED, *TASKS} <= {name for name, _ in profiles}
    for name, about in profiles:
        assert about
        one = Path(shutil.copy(params, tmp_path / f"{name}.yaml"))
        lay(one, name)
        load("data", DataParams, one)
        load("corpus", CorpusParams, one)


def test_every_task_profile_names_its_kind_its_metric_and_its_source() -> None:
    found = {name: read_profile(name, ROOT / PROFILES) for name, _ in list_profiles(ROOT / PROFILES)}
    tasks = {name: tree for name, tree in found.items() if "kind" in tree.get("data", {})}
    assert set(tasks) == set(TASKS)
    for name, tree in tasks.items():
        data = tree["data"]
        assert data["kind"] == KINDS.get(name, "classes")
        assert tree["evaluate"]["metric"] == TASKS[name]
        assert data["source"] == ("docstrings" if name.startswith("docstring") else "hub")
    for name in GLUE:
        data = tasks[name]["data"]
        assert (data["hub"]["name"], data["hub"]["config"]) == ("nyu-mll/glue", name.removesuffix("-mm"))
        assert data["files"]["layout"] == name
        assert data["hub"]["test_split"] is None  # GLUE's have no labels


def test_a_task_profile_leaves_nothing_of_the_one_before() -> None:
    tasks = {name: dict(leaves(read_profile(name, ROOT / PROFILES))) for name in TASKS}
    every = {key for keys in tasks.values() for key in keys}
    assert len(tasks) == 21 and len(every) >= 40
    for name, keys in tasks.items():
        # Numbers of a source or of a kind that this task is not of are read by nobody; the corpus is chosen by itself.
        unread = ["corpus."]
        unread += [] if keys["data.source"] == "docstrings" else ["data.docstrings."]
        unread += [f"kinds.{kind}." for kind in ("answers", "tokens") if kind != keys["data.kind"]]
        # A block that is null has no numbers; one that has some is not null.
        said = {key[:end] for key in keys for end in [*(at for at, sign in enumerate(key) if sign == "."), len(key)]}
        unread += [f"{key}." for key, value in keys.items() if value is None]
        missing = {key for key in every - said if not key.startswith(tuple(unread))}
        assert not missing, f"profile {name} sets no {sorted(missing)}, which another task's profile does"


def test_the_built_in_task_is_whole_again_after_any_other(params: Path) -> None:
    lay(params, "docstrings")
    before = read_yaml(params)
    lay(params, "stsb", "mrpc", "squad2", "docstring-questions", "wnut17", "conll2003", "sick")
    assert read_yaml(params) != before
    lay(params, "docstrings")
    assert read_yaml(params) == before


def leaves(tree: dict, path: str = "") -> Iterator[tuple[str, object]]:
    """Every key of a profile, dotted, and its value."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value


def test_only_values_change_and_comments_and_order_stay(params: Path) -> None:
    before = params.read_text().splitlines()
    changes = lay(params, "stsb")
    after = params.read_text().splitlines()
    assert len(before) == len(after)
    assert ("evaluate.metric", "accuracy", "pearson") in changes
    for old, new in zip(before, after, strict=True):
        assert old.partition("#")[2] == new.partition("#")[2]
        assert old.partition(":")[0] == new.partition(":")[0]
    assert sum(old != new for old, new in zip(before, after, strict=True)) == len(changes)


def test_one_number_changes_one_line_of_params_yaml_as_it_is_shipped(tmp_path: Path) -> None:
    copy = Path(shutil.copy(ROOT / PARAMS, tmp_path / "params.yaml"))
    before = copy.read_text(encoding="utf-8").splitlines()
    assert apply([{"data": {"seed": 1234}}], copy)
    after = copy.read_text(encoding="utf-8").splitlines()
    assert [new.split()[1] for old, new in zip(before, after, strict=True) if old != new] == ["1234"]


def test_numbers_stay_as_they_are_written(params: Path) -> None:
    lay(params, "bert-base")
    assert "learning_rate: 3.0e-5" in params.read_text()


def test_a_profile_laid_twice_changes_nothing_the_second_time(params: Path) -> None:
    assert lay(params, "cola")
    before = params.stat().st_mtime_ns
    assert lay(params, "cola") == []
    assert params.stat().st_mtime_ns == before


def test_a_block_may_be_switched_off_and_on_again(params: Path, tmp_path: Path) -> None:
    (tmp_path / "off.yaml").write_text("teacher: {phase: null}\n")
    apply([read_profile("off", tmp_path)], params)
    assert read_yaml(params)["teacher"]["phase"] is None
    lay(params, "minilm")
    assert read_yaml(params)["teacher"]["phase"]["batch_size"] == 32


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("dato: {seed: 1}", "profile sets dato = "),
        ("data: {hub: {nane: x}}", r"profile sets data\.hub\.nane = x: params\.yaml has no such key"),
        ("data: [", "not valid YAML"),
        ("- data", "expected a mapping"),
    ],
)
def test_a_profile_that_does_not_fit_is_refused_and_changes_nothing(
    params: Path, tmp_path: Path, overlay: str, message: str
) -> None:
    before = params.read_bytes()
    (tmp_path / "bad.yaml").write_text(overlay)
    with pytest.raises(InputError, match=message):
        apply([read_profile("bad", tmp_path)], params)
    assert params.read_bytes() == before


def test_an_unknown_profile_is_named_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"profile 'sst3': no such profile .* there are bert-base, cola"):
        read_profile("sst3", ROOT / PROFILES)


def test_local_folders_take_the_place_of_the_hub(params: Path, tmp_path: Path) -> None:
    overlays = [read_profile("cola", ROOT / PROFILES)]
    apply(overlays + local_overlays(overlays, tmp_path, tmp_path), params)
    data, corpus = load("data", DataParams, params), load("corpus", CorpusParams, params)
    assert (data.source, data.files.folder, data.files.layout) == ("files", str(tmp_path), "cola")
    assert (corpus.source, corpus.folder) == ("files", str(tmp_path))


def test_a_local_folder_may_hold_questions(params: Path, tmp_path: Path) -> None:
    overlays = [read_profile("squad2", ROOT / PROFILES)]
    apply(overlays + local_overlays(overlays, tmp_path, None), params)
    data = load("data", DataParams, params)
    assert (data.kind, data.source, data.files.folder) == ("answers", "files", str(tmp_path))


def test_a_local_folder_needs_a_task_and_has_to_be_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the profiles says how its files are laid out"):
        local_overlays([read_profile("smoke", ROOT / PROFILES)], tmp_path, None)
    with pytest.raises(InputError, match=r"--corpus .*nowhere: no such folder"):
        local_overlays([], None, tmp_path / "nowhere")


def test_the_program_says_what_it_changed(params: Path) -> None:
    command = [sys.executable, "-m", "tasks.profile", "mrpc", "--params", str(params), "smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "evaluate.metric: accuracy -> f1\n" in done.stdout
    assert "values changed" in done.stdout
    listed = subprocess.run([*command[:3], "--list"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == [
        name for name, _ in list_profiles(ROOT / PROFILES)
    ]


def test_what_is_merged_in_several_places_changes_in_the_one_that_a_profile_names(tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text((ROOT / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    overlay = {
        "structured": {"gates": {"l0": {"start": 2.0}, "choose": "gain"}},
        "pkd": {"distill": {"student": {"layers": 4}}},
    }
    changes = apply([overlay], params)
    assert sorted(key for key, _, _ in changes) == [
        "pkd.distill.student.layers", "structured.gates.choose", "structured.gates.l0.start",
    ]  # fmt: skip
    tree = read_yaml(params)
    assert tree["structured"]["gates"]["l0"]["start"] == 2.0
    assert tree["shared"]["l0"]["start"] == tree["smallest"]["gates"]["l0"]["start"] == 3.0
