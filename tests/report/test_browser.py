"""The report in a real browser: it opens without a request, an error or a script, on a desk and on a phone."""

from __future__ import annotations

import shutil

import pytest
from sample import report

from whichway.report.write import write_report

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed")]


@pytest.mark.parametrize("width", [1200, 375])
def test_a_report_with_hostile_texts_opens_quietly(tmp_path, width):
    write_report(report(), tmp_path)
    asked, said = [], []
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto((tmp_path / "report.html").as_uri())
        assert page.locator("h1").count() == 1
        assert page.locator("svg").count() >= 3
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        browser.close()
    assert asked == [(tmp_path / "report.html").as_uri()]
    assert said == []
    assert overflow <= 1
