"""The toy projects of the flows' tests."""

from tests.flows.conftest import made, recipe_project, toy  # noqa: F401 - fixtures
