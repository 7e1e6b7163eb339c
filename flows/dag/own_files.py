"""A person's files in a folder that a stage is about to write: DVC would delete them first, and no cache has them."""

from fnmatch import fnmatch
from pathlib import Path

from dvc.stage import PipelineStage

from flows.dag.graph import reading
from flows.dag.remains import PART
from tasks.stage.outputs import own_files


def lost_by(root: Path, name: str) -> Path | None:
    """A file that would be lost if this stage ran, seen from `root`; None if there is none.

    What a stage wrote may go, since it can be made again, and what DVC's cache has, since it can be checked out again:
    a stage that was killed after it wrote, the outputs of another commit.
    """
    with reading(root) as repo:
        folders = [
            Path(out.fs_path)
            for stage in repo.index.stages
            if isinstance(stage, PipelineStage) and stage.name == name
            for out in stage.outs
            if out.use_cache and Path(out.fs_path).is_dir()
        ]
        own = [file for folder in folders for file in own_files(folder) if file.exists()]
        for file in own:
            # Another name is what a kill leaves of DVC's checkout.
            if not fnmatch(file.name, PART) and not repo.cache.local.exists(_digest(file)):
                return file.relative_to(root.resolve())
    return None


def _digest(file: Path) -> str:
    """As DVC's cache names a file."""
    from dvc_data.hashfile.hash import file_md5
    from dvc_objects.fs import localfs

    return str(file_md5(str(file), localfs))
