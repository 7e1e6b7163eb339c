"""The copy of a project that trials run in: it shares the cache, and the project's own files stay as they are."""

import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from flows.dag.copies import wait_until_quiet
from flows.dag.graph import lineage, load_graph, stale
from flows.search.workspace import make, write_params
from stillhouse.errors import InputError
from tasks.tracking.provenance import git_tags
from tasks.tracking.store import _store
from tests.flows.conftest import Toy

STAGES = {
    "shared": {"cmd": "cat seed > shared && echo ran >> $RUNS", "deps": ["seed"], "outs": ["shared"]},
    "own": {"cmd": "echo ${x} > own && echo own >> $RUNS", "deps": ["shared"], "params": ["x"], "outs": ["own"]},
}


def repro(folder: Path) -> None:
    subprocess.run(["dvc", "repro", "-q"], cwd=folder, check=True)


@pytest.mark.slow
def test_what_the_project_has_made_is_not_made_again_and_the_project_stays_as_it_is(
    toy: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = tmp_path / "runs"
    monkeypatch.setenv("RUNS", str(runs))
    root = toy(STAGES, seed="s")
    (root / "params.yaml").write_text("x: 1\n")
    (root / ".gitignore").write_text("/.search/\n/shared\n/own\n")
    (root / ".dvcignore").write_text("/.search\n")
    repro(root)
    before = {file: file.read_bytes() for file in root.rglob("*") if file.is_file() and ".dvc" not in file.parts}
    folder = make(root, "one", {"x": 1})
    write_params(folder / "params.yaml", {"x": 2})
    repro(folder)
    assert runs.read_text().split() == ["ran", "own", "own"]
    assert (folder / "own").read_text() == "2\n" and (folder / "shared").read_text() == "s"
    write_params(folder / "params.yaml", {"x": 1})
    repro(folder)  # the project has been there
    make(root, "one", {"x": 1})
    assert stale(folder, lineage(load_graph(folder), "own"), refresh=False) == set()
    assert runs.read_text().split() == ["ran", "own", "own"]
    after = {file: file.read_bytes() for file in before}
    assert after == before
    assert not subprocess.run(
        ["git", "status", "--porcelain", ".search"], cwd=root, check=True, capture_output=True
    ).stdout


def test_relative_sources_lead_to_the_projects_own_and_none_out_of_it(toy: Toy) -> None:
    root = toy({})
    (root / "start").mkdir()
    (root / "start" / "config.json").write_text("{}")
    (root / ".gitignore").write_text("/start\n")
    folder = make(root, "one", {"teacher": {"model": "start"}})
    assert (folder / "start" / "config.json").read_text() == "{}"
    make(root, "one", {"teacher": {"model": "builtin"}})
    with pytest.raises(InputError, match=r"teacher\.model = '\.\./project' leads out of the project"):
        make(root, "one", {"teacher": {"model": "../project"}})


def test_a_copy_tracks_in_the_projects_store_and_knows_its_commit(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    root = toy({})
    (root / ".gitignore").write_text("/.search/\n")
    commit = ["-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "toy"]
    for words in (["add", "."], commit):
        subprocess.run(["git", *words], cwd=root, check=True)
    folder = make(root, "one", {})
    assert _store(folder) == root / "mlruns"
    here = git_tags()
    assert here["git_dirty"] == "false"
    (root / ".gitignore").write_text("/.search/\n/x\n")
    monkeypatch.chdir(folder)
    assert git_tags() == here | {"git_dirty": "true"}


def test_a_project_without_git_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no git repository"):
        make(tmp_path, "one", {})


def test_a_search_waits_for_what_one_before_has_left_running(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "project").mkdir()
    left = subprocess.Popen(["sleep", "2"], cwd=tmp_path / "project")
    wait_until_quiet(tmp_path / "other")
    assert left.poll() is None
    wait_until_quiet(tmp_path)
    assert left.poll() == 0 and "left running (sleep)" in capsys.readouterr().out


def test_a_relative_remote_and_its_key_are_the_projects_own(toy: Toy) -> None:
    root = toy({})
    subprocess.run(["dvc", "remote", "add", "-q", "--default", "near", "../near"], cwd=root, check=True)
    subprocess.run(["dvc", "remote", "modify", "--local", "near", "verify", "true"], cwd=root, check=True)
    folder = make(root, "one", {})
    with Repo(str(root)) as ours, Repo(str(folder)) as copy:
        assert copy.config["remote"] == ours.config["remote"]
        assert copy.config["remote"]["near"]["verify"] and copy.config["core"]["remote"] == "near"
        assert copy.stage_cache.cache_dir == ours.stage_cache.cache_dir
