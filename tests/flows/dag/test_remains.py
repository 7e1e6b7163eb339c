import shutil
from pathlib import Path

import pytest

from flows.dag.graph import Stage, load_graph, stale
from flows.dag.process import StageFailed, bring_up_to_date
from flows.dag.remote import Remote
from tests.flows.conftest import Toy


def made(toy: Toy) -> tuple[Path, Path]:
    """A project whose stage has run, and has to run again; and the entry of the run cache."""
    root = toy({"a": {"cmd": "echo x >> count && cp seed a", "deps": ["seed"], "outs": ["a"]}}, seed="x")
    assert bring_up_to_date(root, Stage("a", ()), {})
    (root / "dvc.lock").unlink()
    shutil.rmtree(root / ".dvc" / "tmp" / "stillhouse")
    (entry,) = (each for each in (root / ".dvc" / "cache" / "runs").rglob("*") if each.is_file())
    return root, entry


@pytest.mark.parametrize("left", ["nothing", "a part"])
@pytest.mark.parametrize("remote", [False, True])
def test_a_kill_while_dvc_wrote_to_its_run_cache_costs_the_entry_alone(
    toy: Toy, capfd: pytest.CaptureFixture[str], left: str, remote: bool
) -> None:
    root, entry = made(toy)
    if left == "a part":
        entry.with_name(".Xy1.tmp").write_text(entry.read_text()[:30])
        entry.unlink()
    else:
        entry.unlink()
    away = Remote(root) if remote else None
    assert bring_up_to_date(root, Stage("a", ()), {}, away)
    shown = capfd.readouterr().out
    assert (root / "count").read_text() == "x\nx\n" and entry.exists()
    assert "it is mended: once more" in shown
    if away:
        away.stop()
        assert away.asked and "cannot be used" not in shown, "the remote is not to blame"


def test_what_dvc_refuses_for_another_reason_is_refused_once(toy: Toy, capfd: pytest.CaptureFixture[str]) -> None:
    root, _ = made(toy)
    (root / "seed").unlink()
    with pytest.raises(StageFailed, match="seed"):
        bring_up_to_date(root, Stage("a", ()), {})
    assert "once more" not in capfd.readouterr().out


@pytest.mark.parametrize("left", ["", '{"write": {}, "rea'])
def test_a_kill_while_dvc_noted_what_it_uses_stops_nothing(toy: Toy, left: str) -> None:
    root, _ = made(toy)
    (root / ".dvc" / "tmp" / "rwlock").write_text(left)
    assert stale(root, load_graph(root)) == {"a"}
    (root / ".dvc" / "tmp" / "rwlock").write_text(left)
    assert bring_up_to_date(root, Stage("a", ()), {})
    assert stale(root, load_graph(root)) == set()


def test_a_lock_that_was_cut_off_after_a_flow_asked_what_is_stale_is_put_back(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    stages = {name: {"cmd": f"cp seed {name}", "deps": ["seed"], "outs": [name]} for name in "ab"}
    root = toy(stages, seed="x")
    assert bring_up_to_date(root, Stage("a", ()), {})
    assert stale(root, load_graph(root)) == {"b"}

    def cut(root: Path, name: str) -> None:
        (root / "dvc.lock").write_text("")

    # The last look before DVC runs.
    monkeypatch.setattr("flows.dag.process.lost_by", cut)
    assert bring_up_to_date(root, Stage("b", ()), {})
    assert "it is mended: once more" in capfd.readouterr().out
    assert stale(root, load_graph(root)) == set()
