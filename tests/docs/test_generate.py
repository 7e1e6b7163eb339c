"""The site's pages: every recipe, kind and family has one, and a link leads to a page or is refused."""

import re
from pathlib import Path

import pytest

from docs.generate.docstrings import markdown, parts
from docs.generate.links import Links
from docs.generate.pages import pages
from docs.generate.params import block, shared
from docs.generate.readme import readme_pages
from stillhouse.families.find import FAMILIES
from tasks.kinds.find import kind_names

ROOT = Path(__file__).parents[2]
RECIPES = [file.stem.replace("_", "-") for file in sorted((ROOT / "tasks" / "recipes").glob("[a-z]*.py"))]
HEADINGS = ("When to use it", "The method", "Stages", "Its numbers", "What it has reached here")


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    return pages(ROOT)


def test_every_recipe_has_its_page(made: dict[str, str]) -> None:
    assert len(RECIPES) >= 21
    assert {f"recipes/{slug}.md" for slug in RECIPES} | {"recipes/index.md"} == {
        page for page in made if page.startswith("recipes/")
    }
    for slug in RECIPES:
        page = made[f"recipes/{slug}.md"]
        assert re.findall(r"^## (.+)$", page, re.MULTILINE)[:5] == list(HEADINGS), slug
        assert f"```yaml\n{slug}:" in page and f"| `{slug}` |" in page, slug
        assert f"[`{slug}`]({slug}.md)" in made["recipes/index.md"], slug


def test_a_recipes_page_has_its_paper_its_formula_and_its_rows_beside_the_teachers(made: dict[str, str]) -> None:
    page = made["recipes/pkd.md"]
    assert "[arXiv 1908.09355](https://arxiv.org/abs/1908.09355)" in page
    assert "```text\nL = (1−α)·CE(y, z_S) + α·KD(T) + β·PT\n\nKD  T²·CE" in page
    rows = [line for line in (ROOT / "docs" / "results" / "wnut17.md").read_text().splitlines() if "|" in line]
    ours = [row for row in rows if row.startswith("| pkd |") and "%" in row]
    theirs = [row for row in rows if row.startswith("| teacher |") and "%" in row]
    assert len(ours) > 1  # of the built-in teacher and of mpnet-base
    assert all(f"{teacher}\n{row}\n" in page for teacher, row in zip(theirs, ours, strict=True))
    # What is called after another recipe is not its own.
    assert "`structured-slicing`" in made["recipes/structured.md"]
    assert "structured-distil |" not in made["recipes/structured.md"]


def test_every_kind_of_task_has_its_page(made: dict[str, str]) -> None:
    kinds = kind_names()
    assert len(kinds) >= 5
    for name in kinds:
        page = made[f"kinds/{name}.md"]
        assert f"data.kind: {name}`" in page and "- Input: " in page and f"```yaml\nkinds:\n  {name}:" in page, name
        assert f"[`{name}`]({name}.md)" in made["kinds/index.md"], name


def test_every_family_of_encoder_has_its_page(made: dict[str, str]) -> None:
    assert len(FAMILIES) >= 10
    for name in FAMILIES:
        pages_of = [page for page, text in made.items() if page.startswith("families/") and f"`{name}`" in text]
        (page,) = (
            each for each in pages_of if re.search(rf"^- \*\*`model_type`:\*\*.*`{name}`", made[each], re.MULTILINE)
        )
        assert f"[`{name}`]({page.removeprefix('families/')})" in made["families/index.md"], name


def test_every_module_of_the_library_is_in_the_api(made: dict[str, str]) -> None:
    files = [file for file in (ROOT / "stillhouse").rglob("*.py") if file.stem != "__init__"]
    assert len(files) >= 90
    said = "".join(text for page, text in made.items() if page.startswith("api/"))
    names = [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]
    assert [name for name in names if f"::: {name}\n" not in said] == []


def test_a_linked_file_that_is_no_page_gets_one_with_its_text(made: dict[str, str]) -> None:
    assert "](../source/stillhouse/methods/pkd.py.md)" in made["recipes/pkd.md"]
    assert (ROOT / "stillhouse" / "methods" / "pkd.py").read_text() in made["source/stillhouse/methods/pkd.py.md"]


@pytest.mark.parametrize(
    ("link", "there"),
    [
        ("docs/flows.md#search", "../flows.md#search"),
        ("README.md#use-what-comes-out", "../start/use.md#use-what-comes-out"),
        ("#families-of-encoder", "../families/index.md#families-of-encoder"),
        ("params.yaml", "../source/params.yaml.md"),
        ("https://arxiv.org/abs/1503.02531", "https://arxiv.org/abs/1503.02531"),
    ],
)
def test_a_link_leads_where_its_file_is_in_the_site(link: str, there: str) -> None:
    links = Links(ROOT, {"use-what-comes-out": "start/use.md", "families-of-encoder": "families/index.md"})
    assert links.relinked(f"[`a`]({link}) `[b](c)`\n```\n[d](e)\n```\n", "", "recipes/index.md") == (
        f"[`a`]({there}) `[b](c)`\n```\n[d](e)\n```\n"
    )


@pytest.mark.parametrize("link", ["stillhouse/methods/nothing.py", "README.md#nowhere", "../outside.md", "/flows.md"])
def test_a_link_to_nothing_is_refused(link: str) -> None:
    with pytest.raises(ValueError, match=r"start/data\.md: the link to .* leads to no file: mend it"):
        Links(ROOT, {}).relinked(f"[a]({link})", "", "start/data.md")


def test_a_heading_of_the_readme_without_a_page_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Stillhouse\n\n```bash\n## no heading\n```\n\n## Something new\n")
    with pytest.raises(ValueError, match=r"README\.md: 'Something new' has no page"):
        readme_pages(tmp_path)


def test_a_docstrings_formulas_stay_and_its_prose_is_no_markup() -> None:
    text = (
        "W_h of [CLS], p* and a*:\n\n    L = a*b\n\n    M = <c>\n\nWhere we differ.\n- One `x_*`,\n  and more.\n- Two."
    )
    assert markdown(text) == (
        "W\\_h of \\[CLS\\], p\\* and a\\*:\n\n```text\nL = a*b\n\nM = <c>\n```\n\nWhere we differ.\n\n"
        "- One `x_*`,\n  and more.\n- Two.\n"
    )
    assert parts("a: b\n\nMore.\n\nWhen to use it: now.\n\nEnd.") == ("a: b", "now.", "More.\n\nEnd.")


def test_a_block_of_params_is_quoted_with_what_it_merges(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(
        "shared:\n  # of a student\n  student: &student {layers: 3}\n  gates: &gates\n    a: 1  # one\n"
        "  other: &other {}\n\n"
        "# Recipes.\npkd:  # first\n  distill:\n    <<: *gates\n    student: {<<: *student}\n\npkd-two:\n  x: 1\n"
    )
    assert block(tmp_path, "pkd") == "pkd:  # first\n  distill:\n    <<: *gates\n    student: {<<: *student}"
    assert block(tmp_path, "pkd", "distill").startswith("  distill:\n")
    assert shared(tmp_path, block(tmp_path, "pkd")) == (
        "shared:\n  gates: &gates\n    a: 1  # one\n  # of a student\n  student: &student {layers: 3}"
    )
    with pytest.raises(ValueError, match=r"no block nothing"):
        block(tmp_path, "nothing")
