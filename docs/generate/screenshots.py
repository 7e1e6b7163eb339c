"""`python -m docs.generate.screenshots REPORT.html --out FOLDER`: a report's page, light, dark and on a phone."""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# What browsers of Chromium's make are called, where one is installed: no package that pip installs holds one.
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# The page's own sandbox needs rights that a container does not have; what is opened is a file of ours.
OPTIONS = ("--no-sandbox",)
WIDE, NARROW, TALL = 1200, 390, 844


def installed_browser() -> str | None:
    """A browser's program, if one is installed."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m docs.generate.screenshots", description=__doc__)
    parser.add_argument("report", type=Path, help="report.html, as tasks.report writes it")
    parser.add_argument("--out", type=Path, required=True, help="folder for light.png, dark.png and phone.png")
    parser.add_argument("--model", default="", help="whose mistakes are shown; the one that the page opens with")
    args = parser.parse_args()
    program = installed_browser()
    if program is None:
        sys.exit(f"error: no browser: install one of {', '.join(BROWSERS)} (apt install chromium-headless-shell)")
    if not args.report.is_file():
        sys.exit(f"error: '{args.report}' is not there: give a report.html, as dvc repro compare writes it")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        for file in take(args.report, args.out, args.model, browser):
            print(file)
        browser.close()


def take(report: Path, out: Path, model: str, browser: "Browser") -> list[Path]:
    """Write the pictures: the trade-off in light; in dark what one model gets wrong; and a phone's first screen."""
    out.mkdir(parents=True, exist_ok=True)
    files = [out / name for name in ("light.png", "dark.png", "phone.png")]

    page = _open(browser, report, "light", WIDE)
    picture = page.locator("figure[data-chart=trade]").bounding_box()
    assert picture
    down_to = picture["y"] + picture["height"]
    page.screenshot(path=files[0], full_page=True, clip={"x": 0, "y": 0, "width": WIDE, "height": down_to})

    page = _open(browser, report, "dark", WIDE)
    if model:
        page.select_option("#model", label=model)
    page.get_by_text("One model by itself").evaluate("heading => heading.scrollIntoView()")
    page.screenshot(path=files[1])

    _open(browser, report, "light", NARROW, scale=2).screenshot(path=files[2])
    return files


def _open(browser: "Browser", report: Path, scheme: Literal["light", "dark"], width: int, scale: int = 1) -> "Page":
    screen = browser.new_context(
        viewport={"width": width, "height": TALL}, color_scheme=scheme, device_scale_factor=scale, offline=True
    )
    page = screen.new_page()
    page.goto(report.absolute().as_uri())
    page.wait_for_selector("#trade svg")
    return page


if __name__ == "__main__":
    main()
