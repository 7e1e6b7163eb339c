from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from tasks.sources.layouts import LAYOUTS, read_columns, read_layout
from tasks.sources.split import Source

FILES = {
    "sst2": "text\tlabel\na fine film \t1\ndull\t0\n",
    "cola": "gj04\t1\t\tThe pond froze solid.\ncj99\t0\t*\tThe froze pond solid.",
    "mrpc": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tHe said "yes\tYes, he said.\n'
    "0\t3\t4\tNo.\tMaybe.\n",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tmain\tMSR\t2012\t1\tnone\tnone\tA plane.\tAn air plane.\t5.000\n1\tm\tM\t2012\t2\tn\tn\tA dog.\tA cat.\t1.25\n",
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "sst2": [{"text": "a fine film", "label": "positive"}, {"text": "dull", "label": "negative"}],
    "cola": [
        {"text": "The pond froze solid.", "label": "acceptable"},
        {"text": "The froze pond solid.", "label": "unacceptable"},
    ],
    "mrpc": [
        {"text": 'He said "yes', "text_pair": "Yes, he said.", "label": "equivalent"},
        {"text": "No.", "text_pair": "Maybe.", "label": "not_equivalent"},
    ],
    "stsb": [
        {"text": "A plane.", "text_pair": "An air plane.", "label": "5.000"},
        {"text": "A dog.", "text_pair": "A cat.", "label": "1.25"},
    ],
}


def read(layout: str, folder: Path, content: str) -> Source:
    for name in ("train", "dev"):
        (folder / f"{name}.tsv").write_text(content, encoding="utf-8")
    return read_layout(layout, folder, None, None)


def test_every_glue_layout_is_read_under_the_hubs_label_names(tmp_path: Path) -> None:
    assert set(FILES) == set(ROWS) == set(LAYOUTS)
    for layout, content in FILES.items():
        source = read(layout, tmp_path, content)
        for split in (source.train, source.validation):
            assert [dict(row) for _, row in split.rows()] == ROWS[layout]
        assert source.labels == LAYOUTS[layout].labels


def test_files_may_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text(FILES["sst2"])
    assert len(list(read_layout("sst2", tmp_path, "a.tsv", "a.tsv").validation.rows())) == 2
    with pytest.raises(InputError, match=r"dev\.tsv' is missing"):
        read_layout("sst2", tmp_path, "a.tsv", None)


def test_a_table_needs_the_names_of_its_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.files\.validation = null"):
        read_columns(tmp_path, "a.tsv", None, {"text": "text", "label": "label"})
