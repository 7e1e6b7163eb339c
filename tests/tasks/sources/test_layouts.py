from pathlib import Path
from typing import Any

import pytest

from stillhouse.errors import InputError
from tasks.sources.layouts import LAYOUTS, read_columns, read_layout
from tasks.sources.split import Source

FILES = {
    "goemotions": "Who?\t27\tid1\nSo what?\t4,27\tid2\n",
    "sst2": "text\tlabel\na fine film \t1\ndull\t0\n",
    "cola": "gj04\t1\t\tThe pond froze solid.\ncj99\t0\t*\tThe froze pond solid.",
    "mrpc": '\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t1\t2\tHe said "yes\tYes, he said.\n'
    "0\t3\t4\tNo.\tMaybe.\n",
    "qqp": "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n1\t1\t2\tWhy?\tHow come?\t1\n2\t3\t4\tWho?\tWhat?\t0\n",
    "mnli": "index\tsentence1\tsentence2\tlabel1\tgold_label\n0\tIt rains.\tIt is wet.\tentailment\tentailment\n"
    "1\tIt rains.\tIt is dry.\tneutral\tcontradiction\n",
    "qnli": "index\tquestion\tsentence\tlabel\n0\tWho?\tShe did.\tentailment\n1\tWho?\tIt rains.\tnot_entailment\n",
    "rte": "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\tnot_entailment\n1\tC.\tD.\tentailment\n",
    "wnli": "index\tsentence1\tsentence2\tlabel\n0\tA.\tB.\t0\n1\tC.\tD.\t1\n",
    "sick": "pair_ID\tsentence_A\tsentence_B\trelatedness_score\tentailment_judgment\n"
    "1\tA boy.\tA child.\t4.5\tENTAILMENT\n2\tA boy.\tNo boy.\t3.2\tCONTRADICTION\n",
    "stsb": "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
    "0\tmain\tMSR\t2012\t1\tnone\tnone\tA plane.\tAn air plane.\t5.000\n1\tm\tM\t2012\t2\tn\tn\tA dog.\tA cat.\t1.25\n",
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "goemotions": [
        {"text": "Who?", "label": "27"},
        {"text": "So what?", "label": "4,27"},
    ],  # sets are made of them later
    "sst2": [{"text": "a fine film", "label": "positive"}, {"text": "dull", "label": "negative"}],
    "cola": [
        {"text": "The pond froze solid.", "label": "acceptable"},
        {"text": "The froze pond solid.", "label": "unacceptable"},
    ],
    "mrpc": [
        {"text": 'He said "yes', "text_pair": "Yes, he said.", "label": "equivalent"},
        {"text": "No.", "text_pair": "Maybe.", "label": "not_equivalent"},
    ],
    "qqp": [
        {"text": "Why?", "text_pair": "How come?", "label": "duplicate"},
        {"text": "Who?", "text_pair": "What?", "label": "not_duplicate"},
    ],
    "mnli": [
        {"text": "It rains.", "text_pair": "It is wet.", "label": "entailment"},
        {"text": "It rains.", "text_pair": "It is dry.", "label": "contradiction"},
    ],
    "qnli": [
        {"text": "Who?", "text_pair": "She did.", "label": "entailment"},
        {"text": "Who?", "text_pair": "It rains.", "label": "not_entailment"},
    ],
    "rte": [
        {"text": "A.", "text_pair": "B.", "label": "not_entailment"},
        {"text": "C.", "text_pair": "D.", "label": "entailment"},
    ],
    "sick": [
        {"text": "A boy.", "text_pair": "A child.", "label": "entailment"},
        {"text": "A boy.", "text_pair": "No boy.", "label": "contradiction"},
    ],
    "stsb": [
        {"text": "A plane.", "text_pair": "An air plane.", "label": "5.000"},
        {"text": "A dog.", "text_pair": "A cat.", "label": "1.25"},
    ],
}

FILES["mnli-mm"], ROWS["mnli-mm"], ROWS["wnli"] = FILES["mnli"], ROWS["mnli"], ROWS["rte"]
SICK_SCORES = [{**row, "label": score} for row, score in zip(ROWS["sick"], ("4.5", "3.2"), strict=True)]


def read(layout: str, kind: str, folder: Path, content: str) -> Source:
    for name in LAYOUTS[layout].files:
        (folder / name).write_text(content, encoding="utf-8")
    return read_layout(layout, kind, folder, {})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_under_the_hubs_label_names(tmp_path: Path, layout: str) -> None:
    assert set(FILES) == set(ROWS) == set(LAYOUTS)
    for kind, labels in LAYOUTS[layout].kinds.items():
        source = read(layout, kind, tmp_path, FILES[layout])
        assert list(source.splits) == ["train", "validation"]
        wanted = SICK_SCORES if (layout, kind) == ("sick", "scores") else ROWS[layout]
        for split in source.splits.values():
            assert [dict(row) for _, row in split.rows()] == wanted
        assert source.labels == labels.names


def test_the_nine_tasks_of_glue_are_there() -> None:
    assert {"cola", "sst2", "mrpc", "qqp", "stsb", "mnli", "mnli-mm", "qnli", "rte", "wnli"} < set(LAYOUTS)


def test_qqp_is_read_as_published_without_its_broken_lines_which_are_counted_once(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    # As in train.tsv of GLUE: a line break within a question makes two lines of one row.
    broken = (
        FILES["qqp"]
        + '3\t5\t6\tWho was he?\t"\n\tWas he real? What is the evidence?\t0\n4\t7\t8\tIs it?\tIs it not?\t1\n'
    )
    source = read("qqp", "classes", tmp_path, broken)
    wanted = [*ROWS["qqp"], {"text": "Is it?", "text_pair": "Is it not?", "label": "duplicate"}]
    for _ in range(2):
        assert [dict(row) for _, row in source.splits["train"].rows()] == wanted
    assert capsys.readouterr().out == f"{tmp_path / 'train.tsv'}: 2 lines without 6 fields are left out\n"


def test_a_broken_line_of_another_layout_is_refused(tmp_path: Path) -> None:
    source = read("rte", "classes", tmp_path, FILES["rte"] + "2\tE.\tF.\n")
    with pytest.raises(InputError, match=r"train\.tsv, line 4: 3 fields where 4 are expected"):
        list(source.splits["train"].rows())


def test_files_may_have_names_of_their_own_and_a_third_is_the_test_split(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.tsv").write_text(FILES["sst2"])
    named = {"train": "a.tsv", "validation": "b.tsv", "test": "c.tsv"}
    splits = read_layout("sst2", "classes", tmp_path, named).splits
    assert {name: Path(split.where).name for name, split in splits.items()} == named
    with pytest.raises(InputError, match=r"dev\.tsv' is missing"):
        read_layout("sst2", "classes", tmp_path, {"train": "a.tsv"})
    with pytest.raises(InputError, match=r"a\.tsv is both train and test: name another, or none"):
        read_layout("sst2", "classes", tmp_path, named | {"test": "a.tsv"})


def test_a_layout_of_another_kind_of_task_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"data\.files\.layout = 'stsb' is of scores, data\.kind = 'classes': change one"
    ):
        read_layout("stsb", "classes", tmp_path, {})


def test_a_table_needs_the_name_of_its_training_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.files\.train = null"):
        read_columns(tmp_path, {"train": None, "validation": "a.tsv"}, {"text": "text", "label": "label"})


@pytest.mark.parametrize(("suffix", "cut"), [("tsv", "\t"), ("csv", ",")])
def test_a_table_without_a_header_is_read_by_position(tmp_path: Path, suffix: str, cut: str) -> None:
    file = tmp_path / f"a.{suffix}"
    file.write_text(f"1{cut}a fine film{cut}x\n0{cut}dull{cut}y\n")
    source = read_columns(tmp_path, {"train": file.name}, {"text": 2, "label": 1})
    rows = [dict(row) for _, row in source.splits["train"].rows()]
    assert rows == [{"text": "a fine film", "label": "1"}, {"text": "dull", "label": "0"}]
    with pytest.raises(InputError, match=rf"a\.{suffix}, line 1: no column '7': it has 1, 2, 3"):
        list(read_columns(tmp_path, {"train": file.name}, {"text": 7, "label": 1}).splits["train"].rows())


def test_a_file_that_names_its_columns_has_no_positions(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x", "label": 1}\n')
    with pytest.raises(InputError, match=r"data\.columns has positions, a \.jsonl names its columns"):
        read_columns(tmp_path, {"train": "a.jsonl"}, {"text": 1, "label": 2})
