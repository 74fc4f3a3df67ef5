"""Commands on the pages, as people would copy them."""

import re
from dataclasses import dataclass
from pathlib import Path

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", TOP / "CONTRIBUTING.md", *sorted((TOP / "docs").glob("*.md"))]
# A fence, with the comment that may stand before it: <!-- not run: reason --> or <!-- run by: tests/… -->
FENCE = re.compile(r"(?:<!-- (not run|run by): (.+?) -->\n+)?^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:python|make|pip|cp|wandb|mkdocs|jupyter|sbatch|\.ci/)\S* .*|make \w+|\.ci/run")


@dataclass(frozen=True)
class Command:
    """A command line on a page."""

    page: str
    text: str  # without the comment after it
    mark: str  # "not run", "run by" or ""
    reason: str

    @property
    def words(self) -> list[str]:
        return self.text.split()


def commands() -> list[Command]:
    """List the commands of all pages, in their order; blocks in a language (```python) hold none."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for mark, reason, language, body in FENCE.findall(text):
            lines = body.splitlines() if not language or language in ("bash", "sh", "console") else []
            for line in lines:
                if match := COMMAND.fullmatch(line.partition("  #")[0].partition(" # ")[0].strip()):
                    found.append(Command(page.name, match.group(), mark, reason))
    return found


def python_blocks(page: str) -> list[str]:
    """List the blocks of Python on a page."""
    text = (TOP / page).read_text(encoding="utf-8")
    return [body for _, _, language, body in FENCE.findall(text) if language == "python"]
