"""What docs link to is there, and the tests that docs/security.md names are tests."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_what_shows_a_claim_on_security_is_a_test() -> None:
    page, seen = ROOT / "docs" / "security.md", 0
    for line in page.read_text(encoding="utf-8").splitlines():
        file = ""
        for link, name in re.findall(r"\]\((\.\./tests/[^)]+)\)|`::(\w+)`", line):
            file = link or file
            if name:
                text = (page.parent / file).read_text(encoding="utf-8")
                assert re.search(rf"^def {name}\(", text, re.MULTILINE), f"{file}::{name}"
                seen += 1
    assert seen >= 12
