"""All pages of the site, as Markdown, by their place in it."""

from pathlib import Path

from docs.generate import families, kinds, recipes
from docs.generate.api import api_pages
from docs.generate.links import Links
from docs.generate.readme import readme_pages, sections


def pages(root: Path) -> dict[str, str]:
    """All of them: of the README, of docs/, of recipes, kinds and families, of the Python API, and of linked files.

    Args:
        root: the project's folder.

    Raises:
        ValueError: something that a page is made of is missing, or a link leads to nothing.
    """
    top = readme_pages(root)
    top["recipes/index.md"] = recipes.linked_table(top["recipes/index.md"])
    top["kinds/index.md"] = kinds.linked_table(top["kinds/index.md"])
    top["families/index.md"] = families.linked_table(root, top["families/index.md"])
    top |= {
        f"{name.lower()}.md": (root / f"{name}.md").read_text(encoding="utf-8")
        for name in ("CONTRIBUTING", "CHANGELOG")
    }
    top |= recipes.recipe_pages(root) | kinds.kind_pages(root) | families.family_pages(root) | api_pages(root)
    links = Links(root, sections())
    made = {page: links.relinked(text, "", page) for page, text in top.items()}
    docs = root / "docs"
    for file in sorted(docs.rglob("*.md")):
        page = file.relative_to(docs).as_posix()
        home = file.relative_to(root).parent.as_posix()
        made[page] = links.relinked(file.read_text(encoding="utf-8"), home, page)
    return made | links.source_pages()
