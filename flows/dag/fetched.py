"""A stage's result from the remote, made by whichever clone, without a chance that the stage runs for want of it.

`dvc repro --pull` runs a stage whose result it does not find, and copies every entry of the remote's run cache each
time. Here the entries of the one stage are looked at. DVC resolves them from the folder of this process, while the
repository may be a copy of the project below it: so they are read by what the stage itself says.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dvc_objects.fs.generic import copy

from flows.dag.graph import reading
from flows.dag.remote import is_away

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import PipelineStage
    from dvc_data.hashfile.db import HashFileDB
    from dvc_data.hashfile.hash_info import HashInfo


def fetch(root: Path, name: str) -> bool:
    """Bring a stage's result into the local cache; nothing is checked out, and dvc.lock stays as it is.

    Returns:
        Whether there is one for its command, inputs and parameters, here or in the remote: `dvc repro` then only checks
        it out.

    Raises:
        ConnectionError: the remote cannot be used.
    """
    with reading(root) as repo:
        stage = _stage(repo, name)
        try:
            return _fetch(repo, stage)
        except Exception as error:
            if not is_away(error):
                raise
            raise ConnectionError(f"the remote cannot be used: {type(error).__name__}: {error}") from error


def key_of(root: Path, name: str) -> str:
    """What a stage's result hangs on, in one hash of its command, inputs and parameters; empty where DVC has none."""
    with reading(root) as repo:
        return _key(_stage(repo, name))


def _stage(repo: "Repo", name: str) -> "PipelineStage":
    (stage,) = [each for each in repo.index.stages if getattr(each, "name", None) == name]
    return stage


def _key(stage: "PipelineStage") -> str:
    from dvc.stage.cache import _can_hash, _get_stage_hash
    from dvc_data.hashfile.hash_info import HashInfo

    stage.save_deps()  # in memory
    for out in stage.outs:
        out.hash_info = HashInfo()
    # DVC has no public name for it.
    return str(_get_stage_hash(stage)) if _can_hash(stage) else ""


def _fetch(repo: "Repo", stage: "PipelineStage") -> bool:
    if not stage.changed_stage() and stage.deps_cached() and all(out.hash_info for out in stage.outs):
        # dvc.lock names it.
        _pull(repo, stage.get_used_objs())
        if stage.outs_cached():
            return True
    if not (key := _key(stage)):
        return False
    cache, remote = repo.cache.legacy, repo.cloud.get_remote_odb(None, "fetch --run-cache", hash_name="md5-dos2unix")
    there = remote.fs.join(remote.path, "runs", key[:2], key)
    here = Path(cache.path) / "runs" / key[:2] / key
    values = {remote.fs.name(path) for path in remote.fs.find(there)} if remote.fs.exists(there) else set()
    for value in sorted(value for value in values - _names(here) if not value.endswith(".tmp")):
        here.mkdir(parents=True, exist_ok=True)
        copy(remote.fs, remote.fs.join(there, value), cache.fs, str(here / value))
    for value in sorted(_names(here)):
        if entry := repo.stage_cache._load_cache(key, value):
            _pull(repo, _as_kept(repo, stage, entry).get_used_objs())
    newest = repo.stage_cache._load(stage)  # the one that `dvc repro` takes
    return bool(newest) and bool(_as_kept(repo, stage, newest).outs_cached())


def _as_kept(repo: "Repo", stage: "PipelineStage", entry: dict[str, Any]) -> "PipelineStage":
    """A stage with the outputs that an entry of the run cache names."""
    from dvc.stage import PipelineStage, loads_from
    from dvc.stage.loader import StageLoader
    from dvc.stage.utils import fill_stage_outputs

    kept = loads_from(PipelineStage, repo, stage.path, stage.wdir, {"cmd": entry["cmd"]})
    fill_stage_outputs(kept, outs=[out["path"] for out in entry["outs"]])
    StageLoader.fill_from_lock(kept, entry)
    return kept


def _pull(repo: "Repo", wanted: "Mapping[HashFileDB | None, set[HashInfo]]") -> None:
    for odb, objects in wanted.items():
        repo.cloud.pull(objects, odb=odb)


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.glob("*")}
