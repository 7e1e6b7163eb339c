"""What all tests have in common."""

import gc
import signal
import time
from collections.abc import Callable

import pytest

# Before anything imports transformers: the programs under test run without progress bars, and so do the tests.
import tasks  # noqa: F401
from tests import table

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


@pytest.fixture
def cell(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Say which cell of `tests.table` a test is: `cell(recipe="pkd", kind="tokens", family="bert")`.

    And again, once the code has refused it, with `refused`, its line; with `left`, why this session leaves a cell out.
    """

    def say(**named: str) -> None:
        record_property(table.PROPERTY, named)

    return say


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of recipes, kinds and families, where a test of one of its cells has run."""
    outcomes = table.collected(terminalreporter.stats)
    if outcomes:
        terminalreporter.section("recipes × kinds × families")
        for line in table.lines(outcomes):
            terminalreporter.write_line(line)
