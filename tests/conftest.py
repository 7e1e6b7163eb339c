"""Before anything imports transformers: the programs under test run without progress bars, and so do the tests."""

import tasks  # noqa: F401
