"""The page for a browser: one file that asks nobody, in which whatever the data say is text."""

import base64
import copy
import hashlib
import json
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
import vl_convert
from datasets import ClassLabel, Dataset, Features, Value
from PIL import Image

from docs.generate.screenshots import BROWSERS, OPTIONS, installed_browser, take
from stillhouse.errors import InputError
from tasks import report
from tests.tasks.reports.written import MODELS, write

HOSTILE = "</script><script>window.taken = 1</script><img src=x onerror='window.taken = 1'> & \"so\""
LABEL = "<b onmouseover='window.taken = 1'>bad</b>"
TEXTS = [HOSTILE, "a fine film", "a dull plot" + " and on" * 100, "good"]
TRUTH = [LABEL, "good", LABEL, "good"]
SAID = {
    "teacher": [LABEL, "good", LABEL, LABEL],
    "hinton": ["good", "good", "good", "good"],
    "prune-recover": [LABEL, "good", LABEL, LABEL],
}
CALIBRATION = {"rows": 8, "momentum": 0.5, "max_length": 16, "seed": 1}


@pytest.fixture(autouse=True)
def no_tracking(monkeypatch):
    monkeypatch.setenv("STILLHOUSE_TRACKING", "off")


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """The page of all that a report can show, whose texts are hostile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STILLHOUSE_TRACKING", "off")
        return run(patch, made(tmp_path_factory.mktemp("page")))


class Read(HTMLParser):
    """Elements with their attributes, the scripts, and the text of each cell."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.cells: list[str] = []
        self.open = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.open = tag
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.open = ""

    def handle_data(self, data):
        if self.open in ("td", "th"):
            self.cells[-1] += data
        if self.open == "script":
            self.scripts[-1] += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def made(folder: Path, rows: int = 20, characters: int = 300) -> Path:
    """A task of four rows and all that a report can show: a budget, a finished form, formats, a curve, predictions."""
    budget = {"smaller": 4.0, "smaller_asked": 7.5, "kept": 0.95, "kept_asked": 0.968, "met": False}
    models = {name: MODELS[name] for name in SAID}
    folders = write(folder / "evaluated", models, examples=len(TEXTS), budget=budget)
    write(folder / "evaluated/hinton", {"finished": (0.89, 60.0, 15.0, 0.0)}, examples=len(TEXTS), form="finished")
    finished = folder / "evaluated/hinton/finished/metrics.json"
    finished.write_text(json.dumps(json.loads(finished.read_text()) | {"recipe": "hinton"}))
    for each in folders:
        pairs = zip(TRUTH, SAID[each.name], strict=True)
        quoted = ['"{}","{}"'.format(*(name.replace('"', '""') for name in pair)) for pair in pairs]
        (each / "predictions.csv").write_text("\n".join(["actual,predicted", *quoted]) + "\n")
    (folder / "evaluated/prune-recover/curve.csv").write_text("share,before,after\n0.3,0.9,0.911\n0.7,0.62,0.88\n")
    runtime = {"described": "a runtime", "value": 0.9, "kept": 0.98, "max_difference": 1e-3, "batches": {}}
    formats = {
        "formats": {"fp16": {"bytes": 10**7, "runtimes": {"onnxruntime": runtime | {"speedup": {"1": 1.5}}}}},
        **{"refused": {}, "missing": {}, "hardware": "a processor", "threads": 1},
    }
    (folder / "evaluated/hinton/formats.json").write_text(json.dumps(formats))
    features = Features({"text": Value("string"), "label": ClassLabel(names=[LABEL, "good"])})
    truth = [int(name == "good") for name in TRUTH]
    (folder / "task").mkdir()
    Dataset.from_dict({"text": TEXTS, "label": truth}, features).to_parquet(folder / "task/validation.parquet")
    own = {"of": {"hinton": {}}, "trim": None, "corpus": "data/task", "factorize": None, "int8": None}
    params = {
        "finish": own,
        "export": {"of": {"hinton": {}}, "formats": ["fp16"], "calibration": CALIBRATION},
        "report": {"rows": rows, "characters": characters},
    }
    (folder / "params.yaml").write_text(json.dumps(params))
    return folder


def run(monkeypatch, folder: Path, out: str = "out", data: str = "task") -> str:
    words = ["--all", folder / "evaluated", "--data", folder / data, "--params", folder / "params.yaml"]
    monkeypatch.setattr("sys.argv", ["report", *map(str, [*words, "--out", folder / out])])
    report.main()
    return (folder / out / "report.html").read_text(encoding="utf-8")


def charts(page: str) -> dict:
    return json.loads(next(text for text in Read(page).scripts if text.startswith("{")))


def test_the_file_asks_nobody_and_lets_no_script_run_but_its_own_two(page):
    read = Read(page)
    assert not {name for _, attributes in read.elements for name in attributes} & {"src", "href", "srcset", "action"}
    policy = next(each["content"] for each in read.named("meta") if "http-equiv" in each)
    scripts = [text for text in read.scripts if not text.startswith("{")]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert len(scripts) == 2
    assert f"default-src 'none'; script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in policy
    assert "unsafe-eval" not in policy


def test_markup_in_a_text_or_a_label_is_shown_as_text(page):
    read = Read(page)
    assert HOSTILE in read.cells and LABEL in read.cells
    assert len(read.scripts) == 3 and not read.named("img") and not read.named("b")


def test_the_same_reports_give_the_same_page(page, tmp_path, monkeypatch):
    assert run(monkeypatch, made(tmp_path)) == page


def test_vega_lite_takes_every_chart_on_every_scale(page):
    found = charts(page)
    assert {name: list(variants) for name, variants in found.items()} == {
        **{"trade": ["size", "latency"], "formats": ["size"], "curve-3": ["share"]},
    }
    for variants in found.values():
        for chart in variants.values():
            for scale in chart["scales"].values() or [None]:
                spec = copy.deepcopy(chart["spec"])
                if scale:
                    spec["encoding"]["x"]["scale"] = scale
                assert vl_convert.vegalite_to_vega(spec)["marks"]


def test_the_picture_has_every_model_the_front_and_the_budgets_corner(page):
    spec = charts(page)["trade"]["size"]["spec"]
    told = {point["model"]: (point["form"], point["status"]) for point in spec["data"]["values"]}
    assert told == {
        "teacher": ("teacher", "teacher"),
        "hinton": ("plain", "on the front"),
        "hinton finished": ("finished", "on the front"),
        "prune-recover": ("plain", "dominated"),
    }
    corner = spec["layer"][0]["data"]["values"][0]
    assert corner["limit"] == pytest.approx(438.0 / 7.5) and corner["value"] == pytest.approx(0.968 * 0.912)
    front = next(layer for layer in spec["layer"] if layer["mark"].get("style") == "front")
    assert [step["cost"] for step in front["data"]["values"]] == [60.0, 267.0, 438.0, 438.0]


def test_the_page_quotes_what_a_model_gets_wrong_and_the_teacher_right(page):
    cells = Read(page).cells
    assert "It gets 2 of 4 rows of validation wrong that the teacher gets right, and 1 right" in page
    assert "It gets 0 of 4 rows of validation wrong that the teacher gets right, and 0 right" in page
    place = cells.index(TEXTS[2][:300] + "…")
    assert cells[place - 1 : place + 4] == ["3", cells[place], LABEL, LABEL, "good"]


def test_no_text_is_quoted_where_params_say_0_rows(tmp_path, monkeypatch):
    page = run(monkeypatch, made(tmp_path, rows=0))
    assert "wrong that the teacher gets right" not in page and "a fine film" not in page and "a dull plot" not in page


def test_a_task_of_other_rows_is_refused(tmp_path, monkeypatch):
    folder = made(tmp_path)
    Dataset.from_dict({"text": ["one"], "label": [0]}).to_parquet(folder / "task/validation.parquet")
    with pytest.raises(InputError, match=r"has 1 rows, the reports are of 4: evaluate that model again"):
        run(monkeypatch, folder)
    assert not (folder / "out").exists()


@pytest.fixture(scope="module")
def browser() -> Iterator:
    """A Chromium that is installed here, driven by Playwright."""
    found = installed_browser()
    if found is None:
        # All else of the page is tested without.
        pytest.skip(f"no browser: install one of {', '.join(BROWSERS)} (apt install chromium-headless-shell)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=found, args=OPTIONS)
        yield opened
        opened.close()


@pytest.fixture
def look(browser, page, tmp_path):
    """Open the page with these settings, offline; what it asks for and complains of is kept, and must be nothing."""
    file = tmp_path / "report.html"
    file.write_text(page, encoding="utf-8")
    asked, said = [], []

    def open_page(**settings: object):
        shown = browser.new_context(offline=True, **settings).new_page()
        shown.on("request", lambda request: asked.append(request.url))
        shown.on("console", lambda message: said.append(message.text))
        shown.on("pageerror", lambda error: said.append(str(error)))
        shown.goto(file.as_uri())
        for name in ("trade", "formats", "curve-3"):
            shown.wait_for_selector(f"#{name} svg")
        return shown

    yield open_page
    assert set(asked) == {file.as_uri()} and said == []


def points(shown) -> int:
    """Marks of models in the picture."""
    return shown.locator("#trade .mark-symbol path").count()


@pytest.mark.slow
def test_in_a_browser_the_picture_is_drawn_and_does_as_its_controls_say(look):
    shown = look()
    assert points(shown) == 4
    assert shown.locator("#trade text", has_text="ONNX file (MB)").count() == 1
    ticks = shown.locator("#trade .role-axis-label text").all_inner_texts()
    shown.get_by_label("linear").first.check()
    shown.wait_for_selector("figure[data-chart=trade][data-times='2']")
    assert shown.locator("#trade .role-axis-label text").all_inner_texts() != ticks
    shown.get_by_label("latency").check()
    shown.wait_for_selector("figure[data-chart=trade][data-times='3']")
    assert shown.locator("#trade text", has_text="p50 latency at batch 1 (ms)").count() == 1
    shown.get_by_role("checkbox", name="prune-recover").uncheck()
    shown.wait_for_selector("figure[data-chart=trade][data-times='4']")
    assert points(shown) == 3
    shown.get_by_role("checkbox", name="finished").uncheck()
    shown.wait_for_selector("figure[data-chart=trade][data-times='5']")
    assert points(shown) == 2


@pytest.mark.slow
def test_in_a_browser_a_model_tells_its_figures_and_one_is_chosen_to_be_read(look):
    shown = look()
    shown.locator("#trade .mark-symbol path").first.hover()
    shown.wait_for_selector("#vg-tooltip-element.visible")
    told = shown.locator("#vg-tooltip-element").inner_text()
    assert "accuracy" in told and "ONNX file" in told and "smaller" in told
    names = shown.locator("#model option").all_inner_texts()
    assert names == ["teacher", "hinton", "prune-recover"], "the finished one kept no predictions"
    shown.select_option("#model", label="hinton")
    assert shown.locator("section[data-model]:visible h3").first.inner_text() == "hinton"
    assert shown.locator("section[data-model]:visible .mistakes tbody tr").count() == 2


@pytest.mark.slow
def test_in_a_browser_what_the_data_say_is_text_and_never_runs(look):
    shown = look()
    shown.select_option("#model", label="hinton")
    assert shown.locator(".mistakes:visible td.text").first.inner_text() == HOSTILE
    assert shown.locator("td b, td img").count() == 0
    # A function, as the page's policy lets no text become code.
    assert shown.locator("body").evaluate("() => window.taken") is None


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_the_page_is_as_wide_as_a_phone_and_light_or_dark(scheme, look):
    shown = look(viewport={"width": 390, "height": 800}, color_scheme=scheme)
    body = shown.locator("body")
    assert body.evaluate("() => document.documentElement.scrollWidth") == 390
    ground, ink = (body.evaluate(f"body => getComputedStyle(body).{name}") for name in ("backgroundColor", "color"))
    dark, bright = sorted((ground, ink), key=lambda rgb: sum(map(int, rgb.strip("rgb()").split(","))))
    assert (ground, ink) == ((bright, dark) if scheme == "light" else (dark, bright))


@pytest.mark.slow
def test_the_pictures_of_the_docs_are_of_a_report_light_dark_and_on_a_phone(browser, page, tmp_path):
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    files = take(tmp_path / "report.html", tmp_path / "pictures", "hinton", browser)
    shown = [Image.open(file).convert("L") for file in files]
    assert [file.name for file in files] == ["light.png", "dark.png", "phone.png"]
    assert [picture.width for picture in shown] == [1200, 1200, 780]
    light, dark, phone = (picture.getpixel((1, 1)) for picture in shown)
    assert light > 200 and phone > 200 and dark < 60
