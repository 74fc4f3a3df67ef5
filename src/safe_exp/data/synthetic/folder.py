"""Folder of made articles, in FakeNewsNet's layout; it appears whole or not at all."""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from safe_exp.data.synthetic.pictures import draw_picture
from safe_exp.data.synthetic.plan import Plan, SyntheticSettings, make_rng, plan_article
from safe_exp.data.synthetic.stories import write_caption, write_story
from safe_exp.system.errors import UserError

GENERATOR_VERSION = 1  # raised with every change of the articles, so that an older folder is not taken for today's


def synthetic_folder(config: SyntheticSettings) -> Path:
    """Name the folder of the articles of these settings, by all that shapes them."""
    name = (
        f"articles{config.articles}_cue{config.cue_strength:g}_mismatch{config.mismatch_strength:g}"
        f"_seed{config.seed}_v{GENERATOR_VERSION}"
    )
    return Path(config.root) / name


def write_synthetic(config: SyntheticSettings) -> Path:
    """Make the articles, unless they are there already, and return their folder.

    The words are the same, byte for byte, on every machine; so are the pictures under one version of Pillow.

    Raises:
        UserError: `data.root` holds other data, cannot be written to, or is full.
    """
    folder = synthetic_folder(config)
    if folder.is_dir():  # complete, since it is renamed to this name at the end
        return folder
    _require_no_other_data(folder.parent)
    try:
        _make_whole(folder, config)
    except OSError as error:
        raise UserError(
            f"data.root={config.root}: the built-in articles cannot be written there ({error.strerror}). "
            "Name a folder that you may write to, with room for 10 kB an article, as in data.root=/tmp/synthetic."
        ) from error
    return folder


def _require_no_other_data(root: Path) -> None:
    """Refuse to write into a folder of other data, as when `data=…` was forgotten beside `data.root=…`.

    Raises:
        UserError: the folder holds anything but made articles and hidden files.
    """
    if not root.is_dir():
        return
    others = [path for path in root.iterdir() if not path.name.startswith((".", "articles"))]
    if others:
        raise UserError(
            f"data.root={root} belongs to data=synthetic here, which writes its articles there, but holds "
            f"{others[0].name}. For articles of your own say what they are, as in data=fakenewsnet data.root={root} or "
            "data=table; the built-in ones need no data.root."
        )


def _make_whole(folder: Path, config: SyntheticSettings) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A name that starts with a dot is never read as a site of data.root; mkdtemp gives each process its own.
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        draft.chmod(0o755)  # mkdtemp makes it private; colleagues may share a data folder
        for number in _with_progress(range(config.articles)):
            _write_article(draft, plan_article(number, config), config)
        try:
            os.rename(draft, folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster, with the very same articles
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_article(root: Path, plan: Plan, config: SyntheticSettings) -> None:
    folder = root / ("fake" if plan.label else "real") / f"synthetic{plan.number:05d}"
    folder.mkdir(parents=True)
    title, text = write_story(plan, config)
    article = {"title": title, "text": text, "source": plan.source, "publish_date": plan.publish_date}
    content = json.dumps(article, indent=1, ensure_ascii=False) + "\n"
    folder.joinpath("news_article.json").write_bytes(content.encode("utf-8"))
    folder.joinpath("caption.txt").write_bytes(f"{write_caption(plan, config)}\n".encode())
    draw_picture(plan.picture, make_rng(config, plan.number, "picture")).save(folder / "image.png")


def _with_progress(numbers: range) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if not sys.stderr.isatty():
        console.print(f"Making {len(numbers)} articles with pictures, once.", highlight=False)
    return track(numbers, "Making articles", console=console, transient=True, disable=not sys.stderr.isatty())
