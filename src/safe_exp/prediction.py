"""Answers of a stored run about articles, a few at a time, as JSON lines."""

from __future__ import annotations

import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import torch
import torch.nn.functional as F

from safe_exp.config import PredictConfig, SyntheticDataConfig, captioner_from_plain
from safe_exp.data.articles import Article, LeftOut
from safe_exp.data.asked import ArticleEncoder, AskedArticle, batch_of
from safe_exp.data.readers import build_reader
from safe_exp.data.readers.lines import LineReader, arriving_lines
from safe_exp.data.synthetic import write_synthetic
from safe_exp.equations.safe import SafeCache, SafeOutput, safe_forward
from safe_exp.errors import UserError
from safe_exp.explained import Explainer
from safe_exp.stored import StoredRun, open_run

log = logging.getLogger(__name__)

THRESHOLD = 0.5  # a probability above it is the verdict "fake"
DIGITS = 6  # of probability and similarity, as in predictions.csv; further ones depend on the batch and the machine
PROGRESS_SECONDS = 10.0

Answer = dict[str, Any]


class Oracle:
    """A stored run that answers questions about articles."""

    def __init__(self, stored: StoredRun, explainer: Explainer | None = None) -> None:
        # float32, as validation scored it, gives the answers; float64 explanations whose parts add up.
        self.weights = {dtype: stored.network().to(dtype).weights() for dtype in (torch.float32, torch.float64)}
        self.text_vectors, self.visual_vectors = stored.artifacts.text_vectors, stored.artifacts.visual_vectors
        self.encoder = ArticleEncoder(stored.artifacts, stored.model.variant.reads)
        self.explainer = explainer

    def answer(self, asked: list[Article | LeftOut], image_root: Path | None = None) -> list[Answer]:
        """One answer for each article, in their order; alone or together they get the same ones.

        Args:
            image_root: see `ArticleEncoder.encode`.
        """
        encoded = iter(self.encoder.encode([item for item in asked if isinstance(item, Article)], image_root))
        items = [next(encoded) if isinstance(item, Article) else item for item in asked]
        good = [item for item in items if isinstance(item, AskedArticle)]
        answers = iter(self._answers(good))
        return [next(answers) if isinstance(item, AskedArticle) else refusal(item) for item in items]

    @torch.inference_mode()
    def _answers(self, articles: list[AskedArticle]) -> list[Answer]:
        if not articles:
            return []
        output, _ = self._forward(articles, torch.float32)
        answers = []
        for row, article in enumerate(articles):
            probability = output.probability[row].item()
            similarity = None if output.similarity is None else output.similarity[row].item()
            if not math.isfinite(probability):
                answers.append(refusal(LeftOut(article.id, "no finite score", "the model's numbers are out of range")))
            else:
                answers.append(answer_of(article.id, probability, similarity))
        if self.explainer is not None:
            self.explainer.explain(articles, self._forward(articles, torch.float64)[1], answers)
        return answers

    def _forward(self, articles: list[AskedArticle], dtype: torch.dtype) -> tuple[SafeOutput, SafeCache]:
        batch, weights = batch_of(articles), self.weights[dtype]
        text = visual = None
        if weights.text is not None:
            text = F.embedding(batch.text_tokens, self.text_vectors).to(dtype)  # (B, L, E)
        if weights.visual is not None:
            visual = F.embedding(batch.visual_tokens, self.visual_vectors).to(dtype)  # (B, Lv, Ev)
        return safe_forward(weights, text, visual, batch.text_lengths, batch.visual_lengths)


def answer_of(article_id: str, probability: float, similarity: float | None) -> Answer:
    """What is said of one article: fake is what is spoken of, and both scorers are high for it."""
    scores = {"prediction": _short(probability)}
    if similarity is not None:
        scores["similarity"] = _short(1 - similarity)
    return {
        "id": article_id,
        "probability": _short(probability),
        "similarity": None if similarity is None else _short(similarity),
        "verdict": "fake" if probability > THRESHOLD else "real",
        "scores": scores,
    }


def refusal(item: LeftOut) -> Answer:
    return {"id": item.path, "error": f"{item.reason} ({item.detail})"}


def answers_to_standard_output(config: PredictConfig) -> int:
    """Answer what the config asks; returns how many articles could not be answered."""
    with only_answers_on_standard_output() as output:
        return answer_all(config, sys.stdin.buffer, output)


def answer_all(config: PredictConfig, standard_input: BinaryIO, output: BinaryIO) -> int:
    """Write one JSON object a line for each article, as they come; returns how many of them are errors.

    Raises:
        UserError: the run or the input as a whole cannot be used.
    """
    stored = open_run(Path(config.run).expanduser(), config.checkpoint)
    explainer = Explainer.of(config, stored) if config.explains else None
    oracle = Oracle(stored, explainer)
    answered = failed = 0
    start = said = time.monotonic()
    for asked, image_root in questions(config, stored, standard_input):
        answers = oracle.answer(asked, image_root)
        # Half of a surrogate pair in a file's name is the one thing that UTF-8 cannot say.
        lines = "".join(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n" for answer in answers)
        output.write(lines.encode("utf-8", "replace"))
        output.flush()
        answered += len(answers)
        failed += sum("error" in answer for answer in answers)
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            log.info("%d answered, %d of them errors, %.0f s", answered, failed, said - start)
    if failed:
        log.warning("%d of %d could not be answered; their lines say why.", failed, answered)
    return failed


def questions(
    config: PredictConfig, stored: StoredRun, standard_input: BinaryIO
) -> Iterator[tuple[list[Article | LeftOut], Path | None]]:
    """The articles to be answered together, and the folder outside of which their images may not lie."""
    captioner = captioner_from_plain(stored.artifacts.manifest["settings"]["captioner"])
    if config.one_article:
        image = None if not config.image else Path(config.image).expanduser()
        name = config.id or "article"
        # Read as a line is, so that the same words give the same answer; the image is the user's own choice.
        read = LineReader(image and image.parent).read((1, json.dumps(_said(config, image)).encode()))
        yield [read if isinstance(read, Article) or config.id else LeftOut(name, read.reason, read.detail)], None
    elif config.data is not None:
        data = config.data
        root = str(write_synthetic(data)) if isinstance(data, SyntheticDataConfig) else data.root
        reader = build_reader(data, captioner, root, labelled=False)
        items, asked = iter(reader.items()), 0
        while batch := list(islice(items, config.batch_size)):
            asked += len(batch)
            yield [reader.read(item) for item in batch], reader.image_root
        if not asked:
            raise UserError(f"data.root={root}: there is no article to ask about.")
    else:
        if standard_input.isatty():
            log.info('Reading JSON lines from the keyboard, such as {"title": "…", "text": "…"}; Ctrl-D ends.')
        images = None if config.images is None else Path(config.images)
        if images is not None and not images.expanduser().is_dir():
            raise UserError(f"images={images} is no folder. Expected the one that the lines' images lie in.")
        reader = LineReader(images)
        for lines in arriving_lines(standard_input, config.batch_size):
            yield [reader.read(line) for line in lines], images and images.expanduser().resolve()


def _said(config: PredictConfig, image: Path | None) -> dict[str, str]:
    said = {name: getattr(config, name) for name in ("title", "text", "caption") if getattr(config, name) is not None}
    return said | {"id": config.id or "article"} | ({} if image is None else {"image": image.name})


@contextmanager
def only_answers_on_standard_output() -> Iterator[BinaryIO]:
    """Standard output for the answers alone: whatever a library prints meanwhile goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(kept, "wb", closefd=False) as output:
            yield output
    except BrokenPipeError:  # the reader has seen enough, as `| head` does
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _short(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
