import subprocess

import pytest

from flows.dag.graph import load_graph, stale
from flows.dag.process import bring_up_to_date
from stillhouse.errors import InputError
from tests.flows.conftest import Toy


@pytest.mark.parametrize("left", [0.0, 0.55, 0.99])
def test_a_lock_that_a_kill_cut_off_is_whole_again_and_nothing_runs_twice(toy: Toy, left: float) -> None:
    stages = {
        name: {"cmd": f"echo {name} >> count && cp seed {name}", "deps": ["seed"], "outs": [name]} for name in "abc"
    }
    root = toy(stages, seed="x")
    for stage in load_graph(root):
        assert bring_up_to_date(root, stage, {})
    assert stale(root, load_graph(root)) == set()
    whole = (root / "dvc.lock").read_bytes()
    (root / "dvc.lock").write_bytes(whole[: int(len(whole) * left)])
    for stage in load_graph(root):
        bring_up_to_date(root, stage, {})
    assert (root / "count").read_text() == "a\nb\nc\n"
    assert (root / "dvc.lock").read_bytes() == whole


def test_a_lock_cut_off_anywhere_can_be_read_again_and_a_conflict_is_for_its_author(toy: Toy) -> None:
    root = toy({"a": {"cmd": "cp seed a", "deps": ["seed"], "outs": ["a"]}}, seed="x")
    subprocess.run(["dvc", "repro", "-q"], check=True)
    graph = load_graph(root)
    whole = (root / "dvc.lock").read_bytes()
    kept = root / ".dvc/tmp/stillhouse"
    # Seven has no factor in common with YAML's indents of two: each line is cut at another place.
    for left in (*range(0, len(whole), 7), len(whole) - 1):
        (kept / "dvc.lock").write_bytes(whole)
        (root / "dvc.lock").write_bytes(whole[:left])
        assert load_graph(root) == graph
    conflict = b"<<<<<<< HEAD\n" + whole
    (root / "dvc.lock").write_bytes(conflict)
    with pytest.raises(InputError, match=r"dvc\.lock") as error:
        load_graph(root)
    assert "\n" not in str(error.value) and (root / "dvc.lock").read_bytes() == conflict
