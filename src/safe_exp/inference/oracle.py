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

import numpy as np
import torch
from scipy.special import logit as logit_of
from torch import Tensor

from safe_exp.config import PredictConfig
from safe_exp.config.figure_names import BEST, THRESHOLD
from safe_exp.data.article_encoder import ArticleEncoder, EncodedArticle, make_batch
from safe_exp.data.captioners import captioner_from_plain
from safe_exp.data.reading.articles import Article, LeftOut
from safe_exp.data.reading.lines import LineReader, arriving_lines
from safe_exp.data.reading.readers import build_reader
from safe_exp.equations import SafeOutput, Words
from safe_exp.inference.rendering import Explainer
from safe_exp.network.variants import embed_batch, variants
from safe_exp.runs.open_run import open_run
from safe_exp.runs.stored import StoredRun, no_calibration
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

DIGITS = 6  # of probability and similarity, as in predictions.csv; further ones depend on the batch and the machine
PROGRESS_SECONDS = 10.0

Answer = dict[str, Any]


class Oracle:
    """A stored run that answers questions about articles.

    It computes in float64: the digits that are printed then depend neither on the other articles of a batch nor on the
    machine, and they are those of validation, which computed in float32.

    Args:
        calibrate: give the probability at the run's temperature.
        threshold: a probability, as it is given, above this is the verdict "fake"; `best`: the run's own.
    Raises:
        UserError: the weights do not fit, or a calibration is wanted that the run does not have.
    """

    def __init__(
        self,
        stored: StoredRun,
        explainer: Explainer | None = None,
        calibrate: bool = False,
        threshold: float | str = THRESHOLD,
    ) -> None:
        self.model, self.calibration, self.calibrate = stored.model, stored.calibration, calibrate
        if self.calibration is None and (calibrate or threshold == BEST):
            wanted = "calibrate=true" if calibrate else "threshold=best"
            raise UserError(f"{wanted}: {no_calibration(stored)}")
        self.threshold = self._best_threshold() if threshold == BEST else float(threshold)
        self.variant = variants[stored.model.variant]
        self.network = stored.network().double()
        self.text_vectors, self.visual_vectors = stored.artifacts.text_vectors, stored.artifacts.visual_vectors
        self.encoder = ArticleEncoder(stored.artifacts, self.variant.reads)
        self.explainer = explainer

    def _best_threshold(self) -> float:
        """The run's own, on the scale of the probabilities that are given."""
        best = self.calibration.thresholds["prediction"]
        return float(self.calibration.probability(logit_of(best))) if self.calibrate else best

    def answer(self, asked: list[Article | LeftOut], image_root: Path | None = None) -> list[Answer]:
        """One answer for each article, in their order; alone or together they get the same ones.

        Args:
            image_root: see `ArticleEncoder.encode`.
        """
        encoded = iter(self.encoder.encode([item for item in asked if isinstance(item, Article)], image_root))
        items = [next(encoded) if isinstance(item, Article) else item for item in asked]
        good = [item for item in items if isinstance(item, EncodedArticle)]
        answers = iter(self._answers(good))
        return [next(answers) if isinstance(item, EncodedArticle) else refusal(item) for item in items]

    @torch.inference_mode()
    def _answers(self, articles: list[EncodedArticle]) -> list[Answer]:
        if not articles:
            return []
        batch = make_batch(articles)
        arguments = embed_batch(self.model, batch, self.text_vectors, self.visual_vectors, occurring_words)
        output, cache = self.variant.forward(self.network, **arguments)
        answers = [self._answer(article.id, output, row) for row, article in enumerate(articles)]
        if self.explainer is not None:
            self.explainer.explain(articles, cache, answers)
        return answers

    def _answer(self, article_id: str, output: SafeOutput, row: int) -> Answer:
        """What is said of one article: fake is what is spoken of, and every scorer is high for it."""
        probability, logits = output.probability[row].item(), output.logits[row].tolist()
        if not math.isfinite(probability):
            return refusal(LeftOut(article_id, "no finite score", "the model's numbers are out of range"))
        similarity = None if output.similarity is None else output.similarity[row].item()
        scores = {"prediction": _short(probability)}
        logit = np.array(logits[0] - logits[1])
        if self.calibrate:
            probability = float(self.calibration.probability(logit))
        if similarity is not None:
            scores["similarity"] = _short(1 - similarity)
            if self.calibration is not None and self.calibration.combination is not None:
                scores["combined"] = _short(self.calibration.combination.score(logit, np.array(similarity)))
        return {
            "id": article_id,
            "probability": _short(probability),
            "similarity": None if similarity is None else _short(similarity),
            "verdict": "fake" if probability > self.threshold else "real",
            "scores": scores,
        }


def occurring_words(vectors: Tensor, tokens: Tensor) -> Words:
    """The sentences over a table of their own words alone, in float64; row 0 is padding's, as in the whole table."""
    rows = torch.cat([tokens.new_zeros(1), tokens.flatten()]).unique()  # ascending, so padding comes first
    return Words(vectors[rows].double(), torch.searchsorted(rows, tokens))


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
    oracle = Oracle(stored, explainer, config.calibrate, config.threshold)
    if config.threshold != THRESHOLD or config.calibrate:
        kind = "calibrated probability" if config.calibrate else "probability"
        log.info("The verdict is fake above a %s of %.6g (threshold=%s).", kind, oracle.threshold, config.threshold)
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
        reader = build_reader(config.data, captioner, labelled=False)
        items, asked = iter(reader.items()), 0
        while batch := list(islice(items, config.batch_size)):
            asked += len(batch)
            yield [reader.read(item) for item in batch], reader.image_root
        if not asked:
            raise UserError(f"data.root={reader.root}: there is no article to ask about.")
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


def _short(value: float | np.ndarray) -> float:
    return float(f"{float(value):.{DIGITS}g}")
