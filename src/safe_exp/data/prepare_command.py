"""Preparation of a data set from the command line: all of it, one share of it, or joining the shares."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from safe_exp.config import MODALITIES, PrepareConfig, TransformerVectorsConfig
from safe_exp.data.prepared import PreparedArticles, prepare
from safe_exp.data.prepared.counts import describe_images
from safe_exp.data.prepared.examples import WIDTH, advise_on_images, tabulate_examples
from safe_exp.data.prepared.prepare import Preparation
from safe_exp.data.reading.articles import list_reasons
from safe_exp.data.selection import find_split_fault
from safe_exp.data.splitting.leakage import repeats_warning
from safe_exp.data.splitting.repeated import RepeatedItem, describe_item
from safe_exp.system.files import short_path, write_json
from safe_exp.system.versions import installed_versions

log = logging.getLogger(__name__)

MOST_SHOWN = 5  # of each kind that repeats


def prepare_data_set(config: PrepareConfig, folder: Path) -> int:
    """Prepare the data set, or one share of it, as the config asks.

    manifest.json in `folder` is the data set's own manifest, with its place and the time taken. A share has none.

    Returns:
        Number of articles in the data set; for a share, number of parts made now.
    Raises:
        UserError: as `prepare` does; or shares are missing when they are to be joined.
    """
    start = time.perf_counter()
    data = config.data
    if data.shard is not None:
        return _prepare_share(config)
    if data.shards is not None:
        preparation = Preparation(data, config.captioner)
        if not preparation.done():
            preparation.join()
        prepared = preparation.open()
    else:
        prepared = prepare(data, config.captioner, fetch=True)
    if isinstance(config.vectors, TransformerVectorsConfig):
        from safe_exp.data.transformer.chosen import ChosenTransformer  # torch takes a second to import

        ChosenTransformer(config.vectors).code(prepared, data, MODALITIES)
    manifest = prepared.manifest | {
        "folder": str(prepared.folder),
        "seconds": round(time.perf_counter() - start, 3),
        "versions": installed_versions(),
    }
    write_json(folder / "manifest.json", manifest)
    console = Console()
    console.print(_counts_table(prepared.manifest["counts"]))
    if images := prepared.manifest.get("images"):
        told = describe_images(images, prepared.manifest["settings"]["max_visual_tokens"])
        console.print(f"Images: {told}", highlight=False)
    for title, reasons in (
        ("Left out", prepared.manifest["left_out"]["by_reason"]),
        ("Without image or caption", prepared.manifest["without_image_or_caption"]),
    ):
        if reasons:
            console.print(
                f"{title}: {list_reasons(reasons)}. {short_path(folder / 'manifest.json')} lists them.", highlight=False
            )
    console.print(tabulate_examples(prepared), width=min(console.width, WIDTH))
    if not prepared.has_visual().any():
        log.info("No article has an image or a caption: %s.", advise_on_images(prepared))
    _report_repeats(prepared, console, data.drop_repeated)
    if fault := find_split_fault(prepared, data):
        log.warning("A training with these settings would stop: %s", fault)
    log.info("%d articles, %.0f s. They are in %s", len(prepared), manifest["seconds"], short_path(prepared.folder))
    log.info("fingerprint %s", prepared.fingerprint)
    return len(prepared)


def _report_repeats(prepared: PreparedArticles, console: Console, dropped: bool) -> None:
    """Print the pictures, openings and copied texts that repeat, and warn where they follow the class.

    Args:
        dropped: data.drop_repeated, which the warning advises.
    """
    repeats = prepared.repeats
    if repeats is None:
        return
    for kind, items in repeats.items.items():
        if items:
            console.print(
                f"Repeated {kind}: {_summarise_repeats(kind, items)}", highlight=False, markup=False, soft_wrap=True
            )
    if dropped:
        log.info("data.drop_repeated=true: training and scoring leave out what repeats.")
        return
    carried, described = repeats.carried(MODALITIES)
    if warning := repeats_warning(carried, described, prepared.labels, prepared.groups):
        log.warning("%s", warning)


def _summarise_repeats(kind: str, items: list[RepeatedItem]) -> str:
    articles = sum(item["articles"] for item in items)
    shown = "".join(f"\n  {describe_item(kind, item)}" for item in items[:MOST_SHOWN])
    more = len(items) - MOST_SHOWN
    rest = f"\n  and {more} more; manifest.json lists them (repeated)" if more > 0 else ""
    return f"{len(items)}, under {articles} articles{shown}{rest}"


def _prepare_share(config: PrepareConfig) -> int:
    """Make the missing parts of share `data.shard`; return their number."""
    data = config.data
    preparation = Preparation(data, config.captioner)
    missing = [] if preparation.done() else preparation.missing(data.shard)
    preparation.make(missing)
    log.info(
        "Shard %d of %d is complete (%d parts made now). When all are, join them: the same command with data.shards=%d "
        "and no data.shard.", data.shard, data.shards, len(missing), data.shards,
    )  # fmt: skip
    return len(missing)


def _counts_table(counts: dict[str, Any]) -> Table:
    """Lay out the articles by site, class and modality, as the paper's data table does."""
    table = Table(title="Articles")
    for name in ("", "articles", "with text", "with image or caption", "with both"):
        table.add_column(name, justify="right" if name else "left")
    groups = [*counts["by_site"].items(), ("all", counts)] if len(counts["by_site"]) > 1 else [("all", counts)]
    for site, by_class in groups:
        for kind in ("fake", "real", "all"):
            numbers = [f"{by_class[kind][key]:,}" for key in ("articles", "with_text", "with_visual", "with_both")]
            named = f"{site} {kind}" if len(groups) > 1 and site != "all" else kind
            table.add_row(named, *numbers, end_section=kind == "all")
    return table
