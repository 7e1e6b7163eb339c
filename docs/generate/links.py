"""Links: what leads to a file of the project leads to a page of the site."""

import re
from pathlib import Path, PurePosixPath
from posixpath import normpath, relpath

CODE_OR_LINK = re.compile(
    r"^```.*?^```|(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)|\]\(([^)#\s]*)(#[^)\s]*)?\)", re.DOTALL | re.MULTILINE
)
# Pages that stand for files and folders outside of docs/.
ELSEWHERE = {
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "stillhouse/methods": "recipes/index.md",
    "stillhouse/families": "families/index.md",
    "tasks/kinds": "kinds/index.md",
}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".json": "json"}


class Links:
    """Where links of the project's Markdown lead in the site.

    Args:
        root: the project's folder.
        sections: the page of each of the README's headings, by its anchor.

    Attributes:
        sources: files that some page links to and that are no page: each gets one that shows it.
    """

    def __init__(self, root: Path, sections: dict[str, str]) -> None:
        self.root, self.sections = root, sections
        self.sources: set[str] = set()

    def relinked(self, text: str, home: str, page: str) -> str:
        """Markdown with its links as they are on a page of the site.

        Args:
            home: the folder that its links start from, from the project's.
            page: where it stands in the site.

        Raises:
            ValueError: a link leads to nothing.
        """

        def lead(found: re.Match[str]) -> str:
            target, anchor = found[2], found[3] or ""
            if target is None or "://" in target or (not target and home.startswith("docs")):
                return found[0]
            place = self._page(normpath(PurePosixPath(home, target or "README.md")), anchor, page)
            return f"]({relpath(place, PurePosixPath(page).parent)}{anchor})"

        return CODE_OR_LINK.sub(lead, text)

    def source_pages(self) -> dict[str, str]:
        """A page of each file that was linked to, as it is."""
        return {
            _source(path): _shown(path, (self.root / path).read_text(encoding="utf-8")) for path in sorted(self.sources)
        }

    def _page(self, path: str, anchor: str, page: str) -> str:
        if path == "README.md":
            place = self.sections.get(anchor.removeprefix("#")) if anchor else "index.md"
        elif path in ELSEWHERE:
            place = ELSEWHERE[path]
        elif path.startswith("docs/"):
            place = path.removeprefix("docs/")  # MkDocs knows whether it is there
        else:
            place = _source(path) if (self.root / path).is_file() else None
            self.sources |= {path} if place else set()
        if place is None:
            raise ValueError(f"{page}: the link to '{path}{anchor}' leads to no file: mend it")
        return place


def _source(path: str) -> str:
    # MkDocs leaves out what begins with a dot.
    parts = [f"dot-{part[1:]}" if part.startswith(".") else part for part in PurePosixPath(path).parts]
    return f"source/{'/'.join(parts)}.md"


def _shown(path: str, text: str) -> str:
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 3)
    language = LANGUAGES.get(PurePosixPath(path).suffix, "text")
    # Files of the project in a search for words would drown its pages.
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n{fence}{language}\n{text}\n{fence}\n"
