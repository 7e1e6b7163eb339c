"""What all tests have in common."""

import gc
import signal
import time

import pytest

# Before anything imports transformers: the programs under test run without progress bars, and so do the tests.
import tasks  # noqa: F401

# A shell that starts the tests in its background has them ignore Ctrl-C, and so the flows that they start and stop.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_finish() -> None:
    """What the imports made stays to the end: each training's garbage collection need not look at it again."""
    gc.freeze()


@pytest.fixture
def hub_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub at the discard port, where nobody listens, and no patience between two calls."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    place = constants.ENDPOINT + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
