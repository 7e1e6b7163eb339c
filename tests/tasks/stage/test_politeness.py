"""How a stage's threads wait is chosen as its program starts, by how busy the machine is."""

import importlib
import os

import pytest

import tasks


@pytest.mark.parametrize(
    ("load", "given", "count"),
    [
        (0.1, {}, None),
        (900.0, {}, "3000"),
        (900.0, {"GOMP_SPINCOUNT": "7"}, "7"),
        (900.0, {"OMP_WAIT_POLICY": "ACTIVE"}, None),
    ],
)
def test_threads_spin_less_beside_others_unless_the_user_says_how(monkeypatch, load, given, count) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.setenv(name, "")  # so that it is put back afterwards
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    importlib.reload(tasks)
    assert os.environ.get("GOMP_SPINCOUNT") == count
