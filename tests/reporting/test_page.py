"""The page needs no other file, runs no script from the data, and works in a browser."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest
from PIL import Image

from safe_exp.config import ReportConfig
from safe_exp.reporting.build import report
from tests.data.folders import write_article
from tests.reporting.browser import CHROMIUM, with_page
from tests.reporting.made_sweep import ARTICLES, write_job, write_multirun

# The last of them is a tag that no cleaning of articles knows.
SCRIPT = (
    "<script>document.title = 'taken over'</script><img src=x onerror=\"document.title = 'taken over'\"><x-e onload=y>"
)


class Tags(HTMLParser):
    """All tags with their attributes, and the text inside by tag."""

    def __init__(self, html):
        super().__init__()
        self.found, self.text, self._open = [], {}, []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while tag in self._open and self._open.pop() != tag:  # tags without an end, such as <img>, close with it
            pass

    def handle_data(self, data):
        tag = self._open[-1] if self._open else ""
        self.text[tag] = self.text.get(tag, "") + data

    def of(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Make the page of a sweep whose data try to inject markup wherever the page shows their text."""
    folder = tmp_path_factory.mktemp("page")
    sweep, root = folder / "sweep", folder / "data"
    write_multirun(sweep, "model.alpha=0.2,0.4,0.6", "seed=0,1")
    for article, *_ in ARTICLES:
        path = write_article(root, article, title=SCRIPT, text=f"{SCRIPT} {'word ' * 300}", caption=SCRIPT)
        Image.new("RGB", (900, 600), "#336699").save(path / "image.png")
    number = 0
    for alpha in (0.2, 0.4):
        for seed in (0, 1):
            write_job(sweep, number, f"model.alpha={alpha}", f"seed={seed}", root=root, auroc=0.9 - alpha + seed / 50,
                      val_loss=alpha)  # fmt: skip
            number += 1
    write_job(sweep, 4, f"vectors.path={SCRIPT}", "seed=0", state="failed", reason=SCRIPT)
    return report(ReportConfig(str(sweep), "auroc", 2, False))


def test_the_page_and_its_parts_are_there_and_nothing_half_written(made):
    found = {path.relative_to(made.parent).as_posix() for path in made.parent.rglob("*") if path.is_file()}
    tables = [
        f"tables/{name}.{kind}" for name in ("conditions", "comparisons", "jobs") for kind in ("csv", "md", "tex")
    ]
    names = ("alpha", "similarity", "reliability", "losses")
    figures = [f"figures/{name}.{kind}" for name in names for kind in ("png", "svg")]
    assert found == {"index.html", *tables, *figures}


def test_nothing_outside_the_page_is_referred_to(made):
    tags = Tags(made.read_text(encoding="utf-8"))
    targets = [a[key] for _, a in tags.found for key in ("src", "href", "srcset", "action", "data") if a.get(key)]
    assert len(targets) > 10
    assert all(target.startswith(("data:", "#")) for target in targets)
    assert not re.search(r"url\(|@import", tags.text["style"])


def test_text_of_the_data_is_never_markup(made):
    html = made.read_text(encoding="utf-8")
    tags = Tags(html)
    assert len(tags.of("script")) == 1
    assert "taken over" not in tags.text["script"]
    assert not [attributes for _, attributes in tags.found if {"onerror", "onload"} & attributes.keys()]
    assert html.count("&lt;x-e") > 10  # titles, texts, captions, the reason and the override are there as text


def test_the_browser_may_run_only_our_script(made):
    tags = Tags(made.read_text(encoding="utf-8"))
    (policy,) = [a["content"] for a in tags.of("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    for kind in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(tags.text[kind].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_images_are_thumbnails_in_the_page_and_every_image_has_words(made):
    images = Tags(made.read_text(encoding="utf-8")).of("img")
    thumbnails = [image for image in images if image["src"].startswith("data:image/jpeg")]
    assert len(thumbnails) == 6  # two of each kind, but no article twice: 3 fake and 3 real
    assert all(len(image["src"]) < 30_000 for image in thumbnails)
    assert all(image.get("alt") for image in images)


def test_failed_and_missing_jobs_are_listed_with_reason_and_command(made):
    html = made.read_text(encoding="utf-8")
    section = html[html.index('<section id="unfinished">') : html.index('<section id="cases">')]
    assert section.count("<article") == 2
    assert "never started" in section
    assert f"python -m safe_exp.train -m resume_sweep={made.parents[1]}" in section


def test_the_page_says_if_articles_are_gone(tmp_path):
    write_job(tmp_path, 0, "seed=0", root=tmp_path / "nowhere")
    html = report(ReportConfig(str(tmp_path), "auroc", 2, False)).read_text(encoding="utf-8")
    assert "The articles are no longer at hand" in html
    assert "fake/a1" in html


def test_a_sweep_without_similarity_has_no_case_study_and_says_why(tmp_path):
    write_job(tmp_path, 0, "seed=0", similarity=False)
    html = report(ReportConfig(str(tmp_path), "auroc", 2, False)).read_text(encoding="utf-8")
    assert "there are no similarities to show" in html


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser_the_page_fetches_nothing_fits_a_phone_and_sorts_by_keyboard(made, tmp_path):
    rows = "[...document.querySelectorAll('#table-jobs + .scroll tbody tr')]"
    first_column = f"{rows}.map(row => row.cells[0].textContent)"
    heading = "document.querySelector('#table-jobs + .scroll th button')"

    async def work(page):
        await page.open(made, width=420)
        assert [url for url in page.requests if not url.startswith("data:")] == [made.resolve().as_uri()]
        assert page.complaints == []
        assert await page.answer("document.title") == "Sweep sweep"
        assert await page.answer("[...document.images].every(image => image.naturalWidth > 0)")
        for width in (320, 420, 1280):
            await page.resize(width)
            assert await page.answer("document.documentElement.scrollWidth") <= width
        before = await page.answer(first_column)
        await page.answer(f"{heading}.focus()")
        for expected, state in ((before, "ascending"), (before[::-1], "descending")):
            await page.press("Enter")
            assert await page.answer(first_column) == expected
            assert await page.answer(f"{heading}.closest('th').ariaSort") == state
        background = "getComputedStyle(document.body).backgroundColor"
        light = await page.answer(background)
        await page.resize(420, dark=True)
        assert light == "rgb(255, 255, 255)"
        assert await page.answer(background) != light
        assert page.complaints == []

    with_page(tmp_path / "profile", work)
