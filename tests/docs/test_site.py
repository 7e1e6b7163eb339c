"""The site as `make docs` builds it: links that lead somewhere, pages that ask no other host."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself, and by which attribute; a link to follow is none of these.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "use": "href"}


class Fetched(HTMLParser):
    """What a page has its browser fetch."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in FETCHED and given.get(FETCHED[tag]) and given.get("rel") not in ("prev", "next", "canonical"):
            self.found.append(str(given[FETCHED[tag]]))


def build(folder: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(out)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_site_is_built_and_its_pages_fetch_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = build(ROOT, tmp_path / "site")
    assert done.returncode == 0 and "excluded from the built site" not in done.stderr, done.stderr
    site = {file.relative_to(tmp_path / "site").as_posix(): file for file in (tmp_path / "site").rglob("*.html")}
    assert len(site) > 100
    for name in ("index", "recipes/pkd/index", "kinds/tokens/index", "families/roberta/index", "api/methods/index"):
        assert f"{name}.html" in site
    fetched = [(name, each) for name, file in site.items() for each in Fetched(file.read_text()).found]
    assert len(fetched) > len(site)
    assert [(name, each) for name, each in fetched if re.match(r"(https?:)?//", each)] == []
    sheets = list((tmp_path / "site").rglob("*.css"))
    assert sheets and not [
        file for file in sheets if re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", file.read_text())
    ]
    page = site["recipes/pkd/index.html"].read_text()
    assert "L = (1−α)·CE(y, z_S) + α·KD(T) + β·PT" in page
    api = site["api/methods/index.html"].read_text()
    assert 'id="stillhouse.methods.pkd.patience_loss"' in api and "Padding has no part in it" in api


@pytest.mark.slow
def test_a_broken_link_or_anchor_is_an_error(tmp_path: Path) -> None:
    told = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, told.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    # The API, which takes longest, has no part in this.
    config = tmp_path / "mkdocs.yml"
    config.write_text(config.read_text().split("  - mkdocstrings:")[0])
    with (tmp_path / "docs" / "dag.md").open("a") as page:
        page.write("\n[a](flows.md#nowhere) [b](nothing.md)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if line.startswith("WARNING") and "dag.md" in line]
    assert len(said) == 2, done.stderr
    for word in ("#nowhere", "nothing.md"):
        assert any(word in line for line in said), word
    with (tmp_path / "docs" / "dag.md").open("a") as page:
        page.write("[c](../nothing.py)\n")
    done = build(tmp_path, tmp_path / "site")
    assert done.returncode != 0
    assert done.stderr.endswith("dag.md: the link to 'nothing.py' leads to no file: mend it\n"), done.stderr
