"""What lies in a stage's folder and was not put there by it stays."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.dag.graph import Stage
from flows.dag.process import StageFailed, bring_up_to_date, log_of
from tests.flows.conftest import Toy

MAKE = """
import sys
from pathlib import Path
from tasks.stage.outputs import fresh_dir
with fresh_dir(Path("model")) as out:
    (out / "weights").write_text(Path("seed").read_text())
"""
STAGE = Stage("a", ())


@pytest.fixture
def made(toy: Toy) -> Path:
    """A project whose stage has run once."""
    root = toy({"a": {"cmd": f"{sys.executable} make.py", "deps": ["seed"], "outs": ["model"]}}, seed="1")
    (root / "make.py").write_text(f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[3])!r})\n{MAKE}")
    assert bring_up_to_date(root, STAGE, {})
    return root


@pytest.mark.parametrize("own", ["notes.txt", "weights", "deep/er/notes.txt"])
@pytest.mark.parametrize("force", [False, True])
def test_a_stage_does_not_run_over_a_file_that_no_cache_has(made: Path, own: str, force: bool) -> None:
    (made / "model" / own).parent.mkdir(parents=True, exist_ok=True)
    (made / "model" / own).write_text("mine")
    (made / "seed").write_text("2")
    with pytest.raises(StageFailed, match=f"'model/{own}' is of no stage and in no cache, and would be lost") as failed:
        bring_up_to_date(made, STAGE, {}, force=force)
    assert failed.value.code == 2 and not failed.value.transient
    assert failed.value.reason in (made / log_of("a")).read_text()
    assert (made / "model" / own).read_text() == "mine"
    (made / "model" / own).rename(made / "mine")
    assert bring_up_to_date(made, STAGE, {}, force=force)
    assert (made / "model" / "weights").read_text() == "2" and (made / "mine").read_text() == "mine"


def test_what_a_killed_stage_wrote_is_written_again(made: Path) -> None:
    (made / "seed").write_text("2")
    # As a kill between the stage's end and DVC's leaves it.
    shutil.rmtree(made / "model")
    subprocess.run([sys.executable, "make.py"], cwd=made, check=True)
    (made / "seed").write_text("3")
    assert bring_up_to_date(made, STAGE, {})
    assert (made / "model" / "weights").read_text() == "3"


def test_what_the_cache_has_may_go(made: Path) -> None:
    (made / "seed").write_text("2")
    assert bring_up_to_date(made, STAGE, {})
    (made / "model" / "weights").write_text("1")  # as of the first run
    (made / "model" / ".cut.tmp").write_text("half")  # as a kill leaves it of DVC's checkout
    (made / "seed").write_text("3")
    assert bring_up_to_date(made, STAGE, {})
    assert [path.name for path in (made / "model").iterdir()] == ["weights"]
