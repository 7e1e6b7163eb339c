"""The hook by which transformers' Auto classes know the models of this folder once `stillhouse` is imported.

It imports neither torch nor transformers, so `import stillhouse` takes no time: each model is imported, and registers
itself, when transformers imports its own table of configs or of models.
"""

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

# transformers' tables, and which of our modules belong into each. Configs by themselves: transformers imports its table
# of configs while it is still importing what a model is made of.
TABLES = {
    "transformers.models.auto.configuration_auto": "configuration_",
    "transformers.models.auto.modeling_auto": "modeling_",
}


def install_hook() -> None:
    """Register our models with transformers: now where it has its tables already, else when it imports them."""
    for table, prefix in TABLES.items():
        if table in sys.modules:
            _register(prefix)
        else:
            sys.meta_path.insert(0, _Watch(table))


def _register(prefix: str) -> None:
    """Import the modules of `stillhouse/models` whose names begin like this: each registers itself."""
    folder = importlib.import_module("stillhouse.models")
    for found in pkgutil.iter_modules(folder.__path__):
        if found.name.startswith(prefix):
            importlib.import_module(f"stillhouse.models.{found.name}")


class _Afterwards(Loader):
    """Loads one of the tables as its own loader does, and then our modules."""

    def __init__(self, loader: Loader, prefix: str) -> None:
        self.loader = loader
        self.prefix = prefix

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        _register(self.prefix)


class _Watch(MetaPathFinder):
    """Finds one of the tables when it is imported, and gives it that loader."""

    def __init__(self, table: str) -> None:
        self.table = table

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != self.table:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader = _Afterwards(spec.loader, TABLES[name])
        return spec
