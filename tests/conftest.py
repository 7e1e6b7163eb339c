"""Before anything imports transformers: the programs under test run without progress bars, and so do the tests."""

import gc

import tasks  # noqa: F401


def pytest_collection_finish() -> None:
    """What the imports made stays to the end: each training's garbage collection need not look at it again."""
    gc.freeze()
