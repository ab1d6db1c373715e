"""The pages hang together: each is found, and each link leads somewhere."""

import re
from collections import Counter
from pathlib import Path

from tests.pages.reading import PAGES, README, titles_and_sections, without_code
from tests.serving import ROOT

FOLDERS = ("docs", "tests", "benchmarks", "postman", "verifiers")
INSTALLED = {"node_modules", ".venv"}
SEARCHED_FOR = (
    *("API key", "client credentials", "M2M", "RBAC", "TTL"),
    *("revoke", "introspection", "liveness", "readiness", "cache"),
)


def anchors(page: Path) -> set[str]:
    """As GitHub and GitLab make them of headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_each_title_is_there_once() -> None:
    """So that a test, and a reader who searches, finds a section by it."""
    counts = Counter(title for title, _ in titles_and_sections())
    assert not [title for title, count in counts.items() if count > 1]
    for page in PAGES:
        assert len(re.findall("^# ", without_code(page), re.MULTILINE)) == 1, page.name


def test_each_link_leads_somewhere() -> None:
    lost, count = [], 0
    pages = [page for name in FOLDERS for page in (ROOT / name).rglob("*.md")]
    for page in [*ROOT.glob("*.md"), *pages]:
        if INSTALLED & set(page.parts):
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page)):
            if re.match("https?://", target):
                continue
            count += 1
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            if not file.is_file() or (anchor and anchor not in anchors(file)):
                lost.append(f"{page.name}: {target}")
    assert not lost
    assert count > 50


def test_the_readme_names_every_page() -> None:
    named = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", README.read_text()))
    assert named == {page.name for page in PAGES[1:]}


def test_the_words_that_people_search_for_are_found() -> None:
    text = " ".join(page.read_text() for page in PAGES)
    assert not [word for word in SEARCHED_FOR if word not in text]
