"""The toy projects of the flows' tests."""

from tests.flows.conftest import empty_project, empty_store, made, recipe_project, toy  # noqa: F401 - fixtures
