"""MkDocs' hook: the site's pages are those that `docs.generate.pages` makes, and the navigation lists them."""

from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs.generate.pages import pages

ROOT = Path(__file__).parents[2]
_made: dict[str, str] = {}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Make the pages, and put them in the place of patterns such as `recipes/*` in the navigation."""
    _made.clear()
    try:
        _made.update(pages(ROOT))
    except ValueError as fault:
        raise PluginError(str(fault)) from fault  # MkDocs shows its line alone
    config.nav = _expanded(config.nav)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Give MkDocs the pages; those of docs/ with links that lead to pages."""
    for page, text in _made.items():
        if known := files.get_file_from_path(page):
            files.remove(known)
        files.append(File.generated(config, page, content=text))
    return files


def _expanded(entry: Any) -> Any:
    if isinstance(entry, list):
        return [_expanded(each) for each in entry]
    if isinstance(entry, dict):
        return {title: _expanded(inside) for title, inside in entry.items()}
    if "*" not in entry:
        return entry
    return sorted((page for page in _made if fnmatch(page, entry)), key=lambda page: not page.endswith("/index.md"))
