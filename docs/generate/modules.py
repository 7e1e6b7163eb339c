"""mkdocstrings' view of a module: its docstring as `docs.generate.docstrings` has it, formulas and lists in it."""

from typing import Any

from griffe import Extension, Module

from docs.generate.docstrings import markdown


class ModuleDocstrings(Extension):
    """Makes Markdown of the docstrings of modules; those of functions and classes have sections, and are left alone."""

    def on_module(self, *, mod: Module, **kwargs: Any) -> None:
        if mod.docstring:
            mod.docstring.value = markdown(mod.docstring.value)
