"""The pages: built without a warning, and read in a browser.

They need the extra ``symupdates[docs]``, and the second Chromium, Debian's package. With SYMUPDATES_SCREENSHOTS=FOLDER,
each page is photographed at both widths.
"""

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from readme import DOCUMENTS, PAGES, ROOT

import symupdates

pytestmark = [pytest.mark.ci, pytest.mark.once]
WIDTHS = (1400, 400)
CHROMIUM = shutil.which("chromium")


def test_pages_are_built_and_read(tmp_path):
    """In one test, for what takes the time is to build them."""
    pytest.importorskip("sphinx", reason="the pages need the extra symupdates[docs]")
    site = built(tmp_path)
    check_every_page_is_there(site)
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed, and the pages are read by nobody: apt-get install chromium")
    with served(site) as address, tab(address) as page:
        check_in_a_browser(site, address, page)
        check_search(address, page)


def built(folder):
    """The folder of the pages, built without a warning."""
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", PAGES, folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


def check_every_page_is_there(site):
    names = {path.relative_to(site).with_suffix("").as_posix() for path in site.rglob("*.html")}
    assert {page.stem for page in DOCUMENTS if page.parent == PAGES} <= names
    modules = ("gradients", "schedules", "constraints", "proximal", "random")
    public = {f"{name}.{own}" for name in modules for own in getattr(symupdates, name).__all__}
    short = {own for name in modules for own in getattr(symupdates, name).__all__ if hasattr(symupdates, own)}
    public = {name for name in public if name.partition(".")[2] not in short} | set(symupdates.__all__)
    assert {name for name in public if f"generated/{name}" not in names} == set()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


@contextmanager
def served(site):
    """Where the pages are served."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=site)) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def tab(address):
    """A tab of the browser, and the list of what goes wrong in it."""
    from playwright.sync_api import sync_playwright

    with (
        sync_playwright() as started,
        started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]) as browser,
    ):
        page = browser.new_page()
        page.wrong = []
        page.on("console", lambda message: message.type == "error" and page.wrong.append(message.text))
        page.on("pageerror", lambda error: page.wrong.append(str(error)))
        page.on("requestfailed", lambda request: left(request) or page.wrong.append(f"failed: {request.url}"))
        page.on("response", lambda answer: answer.status >= 400 and page.wrong.append(f"{answer.status} {answer.url}"))
        page.on("request", lambda request: request.url.startswith((address, "data:")) or page.wrong.append(request.url))
        yield page


def left(request):
    """Whether the request ended because the page was left: the tab's icon may still be on its way then."""
    return request.failure == "net::ERR_ABORTED"


SEEN = """() => ({
    formulas: document.querySelectorAll(".math").length,
    set: [...document.querySelectorAll(".math mjx-container")].filter(x => x.getBoundingClientRect().height > 4).length,
    errors: document.querySelectorAll("mjx-merror, [data-mjx-error]").length,
    pictures: document.querySelectorAll("article img").length,
    blank: [...document.querySelectorAll("img")].filter(x => !x.complete || !x.naturalWidth).map(x => x.src),
    beside: document.documentElement.scrollWidth - innerWidth,
})"""


def check_in_a_browser(site, address, page):
    """No error, no request that fails or goes elsewhere; formulas and pictures are there, and nothing is cut off."""
    totals = {"formulas": 0, "pictures": 0}
    folder = os.environ.get("SYMUPDATES_SCREENSHOTS")
    for path in sorted({*site.glob("*.html"), *site.glob("generated/*.html")}):
        name = path.relative_to(site).as_posix()
        page.goto(f"{address}/{name}", wait_until="load")
        if page.locator(".math").count():
            page.evaluate("() => MathJax.startup.promise")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            seen = page.evaluate(SEEN)
            assert (seen["set"], seen["errors"], seen["blank"]) == (seen["formulas"], 0, []), (name, width, seen)
            assert seen["beside"] <= 0, (name, width, seen)
            if folder:
                page.screenshot(path=Path(folder) / f"{name.replace('/', '_')}-{width}.png")
        assert page.wrong == [], name
        for what in totals:
            totals[what] += seen[what]
    assert totals["formulas"] > 1000 and totals["pictures"] > 150


def check_search(address, page):
    page.goto(f"{address}/search.html?q=adagrad")
    page.wait_for_selector("#search-results li a")
    found = [link.get_attribute("href") for link in page.query_selector_all("#search-results li a")]
    assert any("generated/adagrad.html" in link for link in found)
    assert page.wrong == []
