"""How an article's image becomes the sentence V that the network reads."""

from pathlib import Path
from typing import Protocol

from safe_exp.config import CaptionerConfig
from safe_exp.data.untrusted import UnusableArticle, read_text
from safe_exp.errors import UserError


class Captioner(Protocol):
    def caption(self, folder: Path, root: Path) -> str:
        """The sentence for the image of the article in `folder`, never empty.

        Raises:
            UnusableArticle: there is none, and why.
        """


class FileCaptioner:
    """The sentence was made elsewhere and lies beside the article (captioner=file)."""

    def __init__(self, file_name: str) -> None:
        self.file_name = file_name

    def caption(self, folder: Path, root: Path) -> str:
        sentence = read_text(folder / self.file_name, root, "caption").strip()
        if not sentence:
            raise UnusableArticle("caption is empty", self.file_name)
        return sentence


def build_captioner(config: CaptionerConfig) -> Captioner:
    """The captioner that `captioner=…` asks for.

    Raises:
        UserError: there is none of that name, or its settings make no sense.
    """
    if config.name == "file":
        if Path(config.file_name).name != config.file_name:
            raise UserError(
                f"captioner.file_name={config.file_name}: expected the bare name of a file beside each article, "
                "such as caption.txt."
            )
        return FileCaptioner(config.file_name)
    raise UserError(f"captioner.name={config.name}: expected file.")
