"""Files that others wrote: read whole, as UTF-8, from inside the root, or refused with a reason that can be counted."""

from pathlib import Path


class UnusableArticle(Exception):
    """An article that cannot be used: `reason` is a short fixed phrase to count by, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason} ({detail})")
        self.reason = reason
        self.detail = detail


def read_text(path: Path, root: Path, what: str) -> str:
    """The text of a file below `root`, without a byte-order mark. `what` names the file in the reason, as in "caption".

    Raises:
        UnusableArticle: missing, unreadable, not UTF-8, or a link that leads out of the root: a data set from elsewhere
            must not be able to pull in other files of this machine.
    """
    if leads_outside(path, root):
        raise UnusableArticle("a link leads outside data.root", path.name)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise UnusableArticle(f"no {what} file", f"expected {path.name}") from None
    except OSError as error:
        raise UnusableArticle(f"{what} file cannot be read", f"{path.name}: {error.strerror}") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnusableArticle(f"{what} file is not UTF-8", f"{path.name}: byte {error.start}") from error


def leads_outside(path: Path, root: Path) -> bool:
    """Whether `path` is a link to somewhere outside `root`, which must be resolved already."""
    try:
        return path.is_symlink() and not path.resolve().is_relative_to(root)
    except (OSError, RuntimeError):  # a circle of links leads nowhere
        return True
