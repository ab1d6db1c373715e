"""Brings the tables that were measured into the pages: a table of `results/` takes the place of the
one with the same head. Run by the targets of make that measure."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "performance.md")
_TABLE = re.compile(r"^\|.+\|\n\|[-:|]+\|\n(?:\|.+\|\n)+", re.MULTILINE)


def head_of(table: str) -> str:
    return table.partition("\n")[0]


def measured_tables() -> dict[str, str]:
    """By their heads."""
    texts = [path.read_text() for path in sorted(RESULTS.glob("*.md"))]
    return {head_of(table): table for text in texts for table in _TABLE.findall(text)}


def main() -> None:
    measured = measured_tables()
    for page in PAGES:
        text = page.read_text()
        page.write_text(_TABLE.sub(lambda found: measured.get(head_of(found[0]), found[0]), text))


if __name__ == "__main__":
    main()
