"""Word cutters of scripts without spaces: runs of their letters become words. Each is one module of this package.

`data.words` chooses one by name. A module imports its package, which is an optional extra, where it cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from safe_exp.system.extras import require_extra
from safe_exp.system.registry import Registry

SPACES, AUTO = "spaces", "auto"

Cut = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class WordCutter:
    """A way of cutting scripts without spaces, as `data.words=<name>` chooses it.

    Args:
        letters: the letters that it cuts, as the inside of a character class (see data/scripts.py). Letters of other
            scripts without spaces are cut one by one. Empty: `build` is not used.
        build: loads what is needed, and returns a function that cuts a run of such letters and of combining marks into
            words. The same run always gives the same words.
        package: name of the module that must be installed, by `pip install "safe-exp[<name>]"`; None: none.
    """

    name: str
    letters: str = ""
    build: Callable[[], Cut] | None = None
    package: str | None = None

    def require_package(self) -> None:
        """Refuse to begin without the package.

        Raises:
            UserError: it is not installed; the message has the command that installs it.
        """
        if self.package is not None:
            otherwise = "data.words=auto cuts by character, and needs none."
            require_extra(f"data.words={self.name}", self.package, self.name, otherwise)


word_cutters: Registry[WordCutter] = Registry("data.words", __name__)

word_cutters.add(WordCutter(SPACES))  # a run of letters is one word in every script
word_cutters.add(WordCutter(AUTO))  # one letter with its marks is a word, in scripts without spaces
