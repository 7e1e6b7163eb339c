import subprocess
from pathlib import Path

import pytest

from flows.dag.graph import Stage, lineage, load_graph, recipes, stale
from stillhouse.errors import InputError
from tests.flows.conftest import Toy

STAGES = {
    "prepare": {"cmd": "cp seed a", "deps": ["seed"], "outs": ["a"]},
    "corpus": {"cmd": "cp seed c", "deps": ["seed"], "outs": ["c"]},
    "teacher": {"cmd": "cp a t", "deps": ["a"], "outs": ["t"], "meta": {"gpu": True}},
    "report": {
        "foreach": {"tiny": "c"},
        "do": {
            "cmd": "cat t ${item} > r-${key}",
            "deps": ["t", "${item}"],
            "outs": ["r-${key}"],
            "meta": {"alone": True},
        },
    },
}


def test_the_graph_is_dvcs_own_with_foreach_unfolded(toy: Toy) -> None:
    root = toy(STAGES, seed="x")
    assert load_graph(root) == (
        Stage("corpus", ()),
        Stage("prepare", ()),
        Stage("teacher", ("prepare",), gpu=True),
        Stage("report@tiny", ("corpus", "teacher"), alone=True),
    )


def test_the_folder_it_is_asked_from_and_data_under_dvcs_care_change_nothing(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = toy(STAGES, seed="x")
    stages = load_graph(root)
    subprocess.run(["dvc", "add", "-q", "seed"], check=True)
    monkeypatch.chdir(root.parent)
    assert load_graph(root) == stages
    assert stale(root, lineage(stages, "report@tiny")) == {"corpus", "prepare", "teacher", "report@tiny"}


def test_a_lineage_has_each_stage_after_its_needs_and_no_other() -> None:
    stages = (Stage("d", ("b", "c")), Stage("b", ("a",)), Stage("a", ()), Stage("c", ("a",)), Stage("other", ()))
    names = [stage.name for stage in lineage(stages, "d")]
    assert sorted(names) == ["a", "b", "c", "d"]
    assert names.index("a") < names.index("b") < names.index("d") and names.index("c") < names.index("d")


def test_an_unknown_stage_is_named_with_those_like_it() -> None:
    stages = (Stage("tinybert", ()), Stage("prepare", ()))
    with pytest.raises(InputError, match=r"stage 'tinbert' is not in dvc.yaml: it has tinybert; `dvc stage list`"):
        lineage(stages, "tinbert")
    with pytest.raises(InputError, match=r"it has none that is near; `dvc stage list` shows all"):
        lineage(stages, "x")


def test_recipes_are_what_has_a_report() -> None:
    assert recipes((Stage("report@tiny", ()), Stage("export@tiny", ()), Stage("compare", ()))) == ("tiny",)


def test_a_stage_is_stale_when_it_or_anything_before_it_changed(toy: Toy) -> None:
    root = toy(STAGES, seed="x")
    stages = lineage(load_graph(root), "report@tiny")
    assert stale(root, stages) == {"corpus", "prepare", "teacher", "report@tiny"}
    subprocess.run(["dvc", "repro", "-q"], check=True)
    assert stale(root, stages) == set()
    (root / "t").unlink()
    assert stale(root, stages) == {"teacher", "report@tiny"}
    (root / "t").write_text("x")
    assert stale(root, stages) == set()


def test_a_folder_without_dvc_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a DVC project") as error:
        load_graph(tmp_path)
    assert "\n" not in str(error.value)


def test_a_dvc_yaml_that_dvc_refuses_is_refused_in_one_line(toy: Toy) -> None:
    root = toy({"a": {"cmd": "true", "outs": ["same"]}, "b": {"cmd": "true", "outs": ["same"]}})
    with pytest.raises(InputError, match=r"dvc\.yaml: .*same") as error:
        load_graph(root)
    assert "\n" not in str(error.value)
