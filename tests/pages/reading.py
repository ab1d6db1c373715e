"""The pages, README.md and docs/, as one book: a section is found by its title, on any page."""

import re
from functools import cache
from pathlib import Path

from tests.serving import ROOT

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
_SECTION = re.compile(r"^## (.+)\n((?s:.*?))(?=^## |\Z)", re.MULTILINE)


@cache
def titles_and_sections() -> list[tuple[str, str]]:
    return [part for page in PAGES for part in _SECTION.findall(page.read_text())]


def section(title: str) -> str:
    (found,) = [text for each, text in titles_and_sections() if each == title]
    return found


def tables(title: str) -> list[dict[str, list[str]]]:
    """Each table of a section: the first cell of a row, without backquotes, and the others."""
    found = []
    for lines in re.findall(r"(?:^\|.*\n)+", section(title), re.MULTILINE):
        rows = [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in lines.splitlines()
        ]
        found.append({row[0].strip("`"): row[1:] for row in rows[2:]})
    return found


def table(title: str) -> dict[str, list[str]]:
    (only,) = tables(title)
    return only


def blocks(title: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", section(title), re.MULTILINE | re.DOTALL)


def without_code(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
