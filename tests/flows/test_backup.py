"""The commands that docs/operations.md gives to back up and to restore, run as they stand there."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tasks.tracking.store import open_store
from tests.flows.dag.test_remote import point_to
from tests.flows.test_flows import ROOT, own_prefect, run  # noqa: F401 - a fixture

NAME = "stillhouse-docstrings"


def commands(heading: str) -> str:
    """The first block of commands under a heading of the page."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = re.search(rf"^### {heading}\n.*?```bash\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    assert found, heading
    return found[1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_mlflows_store_and_the_cache_lost_a_backup_brings_the_champion_back_and_promotes_again(
    recipe_project: Path, tmp_path: Path
) -> None:
    point_to(recipe_project, str(tmp_path / "remote"))
    environment = os.environ | {"BACKUP": str(tmp_path / "backup")}
    code, shown = run("flows.compress", "hinton")
    assert code == 0, shown
    code, shown = run("flows.promote", "hinton")
    assert code == 0, shown
    subprocess.run(["bash", "-euc", commands("Back up")], env=environment, check=True)
    for lost in ("mlruns", ".dvc/cache", "models", "data", "reports"):
        shutil.rmtree(recipe_project / lost)
    subprocess.run(["bash", "-euc", commands("Restore")], env=environment, check=True)
    client, _ = open_store()
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "1"
    client.delete_registered_model_alias(NAME, "champion")
    code, shown = run("flows.compress", "hinton")
    assert code == 0 and "0 of 7 stages to run" in shown and "version 1 (known already)" in shown, shown
    code, shown = run("flows.promote", "hinton")
    assert code == 0, shown
    assert str(client.get_model_version_by_alias(NAME, "champion").version) == "1"
