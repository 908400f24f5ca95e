"""README.md and the pages in symupdates/docs, and their code blocks by language and heading."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "symupdates" / "docs"
README = ROOT / "README.md"
DOCUMENTS = [README, *sorted(PAGES.glob("*.md"))]


def blocks(language, heading=None, page=README):
    """The fenced blocks of a language in README.md or a page, or under a heading of the second level there."""
    text = (PAGES / page).read_text(encoding="utf-8")
    if heading:
        (text,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)


if __name__ == "__main__":
    for command in blocks("sh", "Quick start"):
        print(command.strip())
