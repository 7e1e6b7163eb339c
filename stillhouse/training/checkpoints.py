"""The checkpoints of a training: a folder each, `checkpoint-STEP`, which counts once it is marked complete."""

from pathlib import Path

COMPLETE = "complete"  # a file in a checkpoint that was written to its end


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end; a process killed while writing leaves one that was not."""
    whole = [path for path in folder.glob("checkpoint-*") if (path / COMPLETE).exists()]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)
