"""Explanations of answers, as plain values for JSON and as coloured text."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from safe_exp.config import ModelConfig, PredictConfig
from safe_exp.data.article_encoder import EncodedArticle, Grids
from safe_exp.data.captioners import captioner_from_plain, captioners
from safe_exp.data.scripts import bare_word, blank_between, join_words
from safe_exp.inference.answer import Answer
from safe_exp.inference.attribution import (
    Cache,
    Parts,
    SideParts,
    cosine_parts,
    list_phrases,
    logit_parts,
    mean_parts,
)
from safe_exp.inference.patches import count_patches, draw_images, locate_patch, save_picture
from safe_exp.network.variants import variants
from safe_exp.runs.ensemble import StoredModel
from safe_exp.system.errors import UserError

ORANGE, BLUE, GREY = (255, 140, 40), (70, 160, 255), (128, 128, 128)  # of text: seen on dark and on light terminals


class MemberPass(NamedTuple):
    """One member's forward pass over a batch of articles, in float64, so that the printed parts add up."""

    model: ModelConfig
    articles: Sequence[EncodedArticle]  # with this member's vocabulary, codebook and cuts
    cache: Cache


class Passage(NamedTuple):
    """The words that one encoder reads."""

    words: list[str]
    first: int  # position of its first word among the article's words, or among the image's


@dataclass
class Explainer:
    """Adds explanations to the answers of a run.

    Args:
        model: settings of the run's model.
        phrases: number of phrases listed in each part; the others are summed.
        console: shows each explanation as coloured text; None: not shown.
        folder: gets a picture of each article's patches; None: no pictures.
    """

    model: ModelConfig
    phrases: int
    console: Console | None = None
    folder: Path | None = None

    @classmethod
    def from_config(cls, config: PredictConfig, stored: StoredModel) -> Explainer:
        """Build the explainer that the config asks for.

        Raises:
            UserError: the run's variant has no explanation, or pictures are wanted of a run that reads no patches.
        """
        # Where standard error is a file, a stream of thousands would bury its log.
        shown = config.one_article or sys.stderr.isatty()
        return cls.of(
            stored, config.phrases, config.explain_to, Console(stderr=True, highlight=False) if shown else None
        )

    @classmethod
    def of(
        cls, stored: StoredModel, phrases: int, explain_to: str | None = None, console: Console | None = None
    ) -> Explainer:
        """Build the explainer of a run.

        Args:
            explain_to: folder for pictures of each article's patches; None: no pictures.
            phrases, console: as of the class.
        Raises:
            UserError: as `from_config`.
        """
        first = stored.members[0]  # its variant and its captioner are those of all
        variant = variants[first.model.variant]
        if not variant.explained:
            raise UserError(
                f"explain=true: the logit of model={variant.name} is not a sum over the article's phrases, and has no "
                "explanation. Leave explain out."
            )
        captioner = captioner_from_plain(first.artifacts.manifest["settings"]["captioner"])
        has_patches = captioner.grids or captioners[captioner.name].gives_vectors
        if explain_to is not None and (not has_patches or "visual" not in variant.reads):
            raise UserError(
                f"explain_to={explain_to}: pictures show the patches of captioner=visual_words or "
                f"captioner=patches, and this run has captioner={captioner.name}, model={variant.name}. explain=true "
                "explains in words."
            )
        folder = None if explain_to is None else Path(explain_to).expanduser()
        return cls(first.model, phrases, console, folder)

    def explain(self, passes: Sequence[MemberPass], answers: Sequence[Answer]) -> None:
        """Add an explanation to each answer that is no error, as plain values; show and draw it where that is wanted.

        Args:
            passes: of all members over one batch of articles.
            answers: to them, in the same order; changed in place.
        """
        passages = [[_list_passages(article, each.model) for article in each.articles] for each in passes]
        logit, cosines = self._mean_parts(passes, passages)
        for row, answer in enumerate(answers):
            if "error" in answer:
                continue
            read = _join_passages([each[row] for each in passages])
            article = max((each.articles[row] for each in passes), key=lambda article: len(article.images))
            found: dict[str, Any] = {}
            if logit is not None:
                found["logit"] = self._quantity(read, logit, row, article.grids)
            if cosines is not None:
                found["cosine"] = {
                    "value": cosines["text"].total[row].item(),
                    **{
                        f"from_{name}": self._quantity(read, parts, row, article.grids)
                        for name, parts in cosines.items()
                    },
                }
            answer["explanation"] = found
            worth = _worth(logit, cosines, row)
            if self.folder is not None and article.grids and "image" in worth:
                picture = draw_images(article.images, article.grids, worth["image"], _unit(found))
                found["picture"] = str(save_picture(picture, self.folder, article.id))
            if self.console is not None:
                self.console.print(colour_words(read, answer, worth))

    def _mean_parts(
        self, passes: Sequence[MemberPass], passages: Sequence[Sequence[Mapping[str, Passage]]]
    ) -> tuple[Parts | None, dict[str, Parts] | None]:
        """Split the mean logit and the mean cosine of the members, as `logit_parts` and `cosine_parts` do for one."""
        variant = variants[self.model.variant]
        logits: list[Parts] = []
        cosines: list[dict[str, Parts]] = []
        for each in passes:
            encoders = variant.encoders(each.cache)
            logit, cosine = logit_parts(each.cache, encoders), cosine_parts(each.cache, encoders)
            logits += [] if logit is None else [logit]
            cosines += [] if cosine is None else [cosine]
        lengths = [_count_words(read) for read in passages]
        return (
            mean_parts(logits, lengths) if logits else None,
            {name: mean_parts([each[name] for each in cosines], lengths) for name in cosines[0]} if cosines else None,
        )

    def _quantity(self, read: dict[str, Passage], parts: Parts, row: int, grids: Sequence[Grids]) -> dict[str, Any]:
        sides = {
            name: self._side(read[name], side, row, grids if name == "image" else ())
            for name, side in parts.sides.items()
        }
        return {"value": parts.total[row].item(), "constant": parts.constant[row].item(), **sides}

    def _side(self, read: Passage, side: SideParts, row: int, grids: Sequence[Grids]) -> dict[str, Any]:
        phrases = list_phrases(side, row, len(read.words))
        listed = []
        for phrase in phrases[: self.phrases]:
            item: dict[str, Any] = {
                "words": join_words(read.words[phrase.start : phrase.end]),
                "start": read.first + phrase.start,
                "end": read.first + phrase.end,
                "contribution": phrase.contribution,
            }
            if grids:
                item["patches"] = _locate_patches(grids, phrase.start, phrase.end)
            listed.append(item)
        return {"phrases": listed, "others": sum((phrase.contribution for phrase in phrases[self.phrases :]), 0.0)}


def _locate_patches(grids: Sequence[Grids], start: int, end: int) -> list[dict[str, Any]]:
    """Locate the patches `start` to `end` of an article's images; where there are several, each has its number."""
    found: list[dict[str, Any]] = []
    for image, of_image in enumerate(grids):
        numbers = range(max(start, 0), min(end, count_patches(of_image)))
        found += [({"image": image} if len(grids) > 1 else {}) | locate_patch(of_image, number) for number in numbers]
        start, end = start - count_patches(of_image), end - count_patches(of_image)
    return found


def _list_passages(article: EncodedArticle, model: ModelConfig) -> dict[str, Passage]:
    """Cut an article into the passages that the encoders read, by the names that `Variant.encoders` gives them."""
    cuts = variants[model.variant].cuts(model, article.title_words)
    read = {name: Passage(article.text_words[cut], cut.start) for name, cut in cuts.items()}
    return read | {"image": Passage(article.visual_words, 0)}


def _join_passages(read: Sequence[dict[str, Passage]]) -> dict[str, Passage]:
    """Join what the members read of an article: the longest of each passage, as they begin with the same words.

    Visual words have names in one codebook alone. Where members have codebooks of their own, patches are called p1, p2.
    """
    joined = {name: max((each[name] for each in read), key=lambda passage: len(passage.words)) for name in read[0]}
    words = joined["image"].words
    if any(each["image"].words != words[: len(each["image"].words)] for each in read):
        joined["image"] = Passage([f"p{number}" for number in range(1, len(words) + 1)], 0)
    return joined


def _count_words(read: Sequence[Mapping[str, Passage]]) -> dict[str, Tensor]:
    """Count the words of each passage of B articles, by encoder, (B,)."""
    return {name: torch.tensor([len(each[name].words) for each in read]) for name in read[0]}


def colour_words(read: Mapping[str, Passage], answer: Answer, worth: Mapping[str, Sequence[float]]) -> Text:
    """Colour an article's words, orange for fake and blue for real, under a line with its verdict.

    The last line splits the logit into its parts, where there is one.

    Args:
        read: the passages by encoder.
        answer: to the article, with its explanation.
        worth: contribution of each word to the logit of fake, by passage; passages that are missing are not shown.
    """
    similarity = "" if answer["similarity"] is None else f", similarity {answer['similarity']:.3f}"
    shown = Text.assemble(
        (f"{answer['id']}: ", "bold"),
        (answer["verdict"], f"bold {_colour(1.0 if answer['verdict'] == 'fake' else -1.0)}"),
        f", probability of fake {answer['probability']:.3f}{similarity}\n",
    )
    strongest = max((abs(v) for values in worth.values() for v in values), default=0) or 1.0
    for name, values in worth.items():
        shown.append(f"{name:8}  ", "dim")
        words = read[name].words
        for word, following, value in zip(
            words, [*words[1:], ""], values, strict=False
        ):  # worth covers the padding too
            shown.append(bare_word(word), _colour(value / strongest))
            shown.append(blank_between(word, following))
        shown.append("\n")
    found = answer.get("explanation", {})
    legend = Text.assemble(
        ("orange", f"bold {_colour(1.0)}"),
        " speaks for fake, ",
        ("blue", f"bold {_colour(-1.0)}"),
        " for real; ",
        (f"the brightest adds {strongest:.3g} to {_unit(found)}", "dim"),
    )
    return shown + legend + Text(_sum_line(found), "dim")


def _sum_line(found: Mapping[str, Any]) -> str:
    """Format the sum of the logit: logit 4.127 = 0.382 constant + 0.445 text + 3.300 image."""
    if "logit" not in found:
        return ""
    total, constant, *sides = found["logit"].values()
    parts = [constant, *(sum(phrase["contribution"] for phrase in side["phrases"]) + side["others"] for side in sides)]
    named = zip(parts, list(found["logit"])[1:], strict=True)
    terms = " ".join(f"{'-' if part < 0 else '+'} {abs(part):.3f} {name}" for part, name in named)
    return f"\nlogit {total:.3f} = {terms.removeprefix('+ ')}"


def _unit(found: Mapping[str, Any]) -> str:
    """Name the quantity that the colours of an explanation add up to: in SAFE\\W, which has no logit, -cos(t, v)."""
    return "the logit" if "logit" in found or not found else "-cos(t, v)"


def _worth(logit: Parts | None, cosines: dict[str, Parts] | None, row: int) -> dict[str, list[float]]:
    """List the contribution of each word to the logit of fake, by passage; in SAFE\\W, which has no logit, to -cos."""
    if logit is not None:
        return {name: side.words[row].tolist() for name, side in logit.sides.items()}
    quantities = (cosines or {}).values()
    return {name: (-side.words[row]).tolist() for parts in quantities for name, side in parts.sides.items()}


def _colour(value: float) -> str:
    """Mix a colour between grey (0) and orange (1) or blue (-1), as #rrggbb."""
    target = ORANGE if value > 0 else BLUE
    strength = min(abs(value), 1.0)
    return "#" + "".join(f"{round(g + (t - g) * strength):02x}" for g, t in zip(GREY, target, strict=True))
