"""The code blocks of README.md, by language and heading."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def blocks(language, heading):
    """The fenced blocks of a language under a heading of the second level."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(rf"^```{language}\n(.*?)^```$", section, flags=re.DOTALL | re.MULTILINE)


if __name__ == "__main__":
    for command in blocks("sh", "Quick start"):
        print(command.strip())
