"""What the tests of last links start from."""

from pathlib import Path

import pytest

from tests.tasks import project


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A filled folder, the current one. Modules that need more in it extend this fixture."""
    project.enter(tmp_path, monkeypatch)
    return tmp_path
