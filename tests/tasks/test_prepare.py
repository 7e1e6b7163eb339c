"""`python -m tasks.prepare`: each choice writes its files, and a fault in the input leaves what was there before."""

import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from ruamel.yaml import YAML

from stillhouse.errors import InputError
from tasks import prepare
from tasks.data.schema import kind_of
from tasks.stage import program
from tasks.stage.params import PARAMS, read_yaml

ROOT = Path(__file__).parents[2]


def run(what: str) -> None:
    sys.argv[1:] = [what, "--out", what]
    prepare.main()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, one whose params.yaml names its own text, as a task and as a corpus."""
    (tmp_path / "in").mkdir()
    for name in ("train", "dev"):
        (tmp_path / "in" / f"{name}.tsv").write_text(f"text\tlabel\na fine film of {name}\t1\ndull {name}\t0\n")
    (tmp_path / "in" / "a.txt").write_text("The copper still is warm. It stands in the yard.\n")
    tree = read_yaml(ROOT / PARAMS)
    files = {"folder": "in", "train": None, "validation": None, "test": None, "layout": "sst2"}
    tree["data"] |= {"source": "files", "files": files, "labels": None}
    tree["corpus"] |= {"source": "files", "folder": "in", "min_words": 3, "max_words": 20}
    YAML().dump(tree, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")
    monkeypatch.setattr(sys, "argv", ["prepare"])
    return tmp_path


@pytest.mark.parametrize(
    ("what", "rows"),
    [
        ("task", {"train.parquet": 2, "validation.parquet": 2}),
        ("corpus", {"corpus.parquet": 2}),
        ("pairs", {"corpus.parquet": 1}),
    ],
)
def test_each_choice_writes_its_files(project: Path, what: str, rows: dict[str, int]) -> None:
    run(what)
    assert {file.name: pq.read_metadata(file).num_rows for file in (project / what).iterdir()} == rows


def test_a_fault_in_the_input_leaves_what_was_written_before(project: Path) -> None:
    run("task")
    before = {file.name: file.read_bytes() for file in (project / "task").iterdir()}
    (project / "in" / "dev.tsv").unlink()
    with pytest.raises(InputError, match=r"dev\.tsv' is missing"):
        run("task")
    assert {file.name: file.read_bytes() for file in (project / "task").iterdir()} == before


def test_the_kind_decides_what_a_task_is_and_one_that_there_is_not_is_named(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    tree = read_yaml(project / "params.yaml")

    def prepared_as(kind: str) -> None:
        tree["data"]["kind"] = kind
        YAML().dump(tree, project / "params.yaml")
        run("task")

    prepared_as("classes")
    with pytest.raises(InputError, match=r"layout = 'sst2' is of classes, data\.kind = 'scores': change one of them"):
        prepared_as("scores")
    with pytest.raises(
        InputError, match=r"data\.files\.layout = sst2: answers are read from files of the layout squad"
    ):
        prepared_as("answers")
    with pytest.raises(SystemExit) as ended:
        program.run(lambda: prepared_as("clases"))
    assert ended.value.code == program.EXIT_INPUT
    assert "data.kind = 'clases' is not one of answers, classes, multi-label, scores" in capsys.readouterr().err
    assert {kind_of(file) for file in (project / "task").iterdir()} == {"classes"}
