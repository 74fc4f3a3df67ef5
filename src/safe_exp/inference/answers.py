"""Answers of a stored run about articles, batch by batch, as JSON lines."""

from __future__ import annotations

import copy
import json
import logging
import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from itertools import islice
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
from scipy.special import logit as to_logit
from torch import Tensor

from safe_exp.config import PredictConfig
from safe_exp.config.threshold import BEST, THRESHOLD
from safe_exp.data.article_encoder import ArticleEncoder, EncodedArticle, make_batch
from safe_exp.data.captioners import captioner_from_plain
from safe_exp.data.reading.articles import Article, ImageRoot, LeftOut
from safe_exp.data.reading.given_sides import image_roots
from safe_exp.data.reading.json_lines import LineReader, arriving_lines
from safe_exp.data.reading.readers import TakesDownloads, build_reader
from safe_exp.data.shared_reading import SharedReading
from safe_exp.equations import SafeOutput, Words
from safe_exp.equations.safe import map_tensors
from safe_exp.inference.answer import Answer
from safe_exp.inference.explainer import Explainer, MemberPass
from safe_exp.inference.members import group_members, mean_output
from safe_exp.network.variants import variants
from safe_exp.runs.ensemble import StoredModel
from safe_exp.runs.open_run import open_run
from safe_exp.system.errors import UserError

log = logging.getLogger(__name__)

DIGITS = 6  # of probability and similarity, as in predictions.csv; further ones depend on the batch and the machine
PROGRESS_SECONDS = 10.0


class Answerer:
    """A stored run, or the jobs of a sweep, that answers articles with a verdict.

    It computes in float64, so the digits that it prints depend neither on the other articles of a batch nor on the
    machine. They agree with those of validation, which computed in float32.

    Args:
        explainer: adds an explanation to each answer; None: none.
        calibrate: give the probability at the run's temperature.
        threshold: the verdict is fake where the given probability is above it; `best`: the run's own.
        device: computes the forward passes; it must know float64.
    Raises:
        UserError: the weights do not fit, or a calibration is wanted that the run does not have.
    """

    def __init__(
        self,
        stored: StoredModel,
        explainer: Explainer | None = None,
        calibrate: bool = False,
        threshold: float | str = THRESHOLD,
        device: torch.device | str = "cpu",
    ) -> None:
        self.stored, self.calibration = stored, stored.calibration
        self.decide(explainer, calibrate, threshold)
        self.groups = group_members(stored, torch.float64, device)
        self.encoders = [ArticleEncoder(group.artifacts, group.variant.reads) for group in self.groups]

    def deciding(
        self, explainer: Explainer | None = None, calibrate: bool = False, threshold: float | str = THRESHOLD
    ) -> Answerer:
        """Return an answerer with other settings, on the same networks and encoders.

        Raises:
            UserError: a calibration is wanted that the run does not have.
        """
        other = copy.copy(self)
        other.decide(explainer, calibrate, threshold)
        return other

    def decide(self, explainer: Explainer | None, calibrate: bool, threshold: float | str) -> None:
        """Set what is done with the networks' scores; as the arguments of the class.

        Raises:
            UserError: a calibration is wanted that the run does not have.
        """
        if self.calibration is None and (calibrate or threshold == BEST):
            wanted = "calibrate=true" if calibrate else "threshold=best"
            raise UserError(f"{wanted}: {self.stored.explain_missing_calibration()}")
        self.explainer, self.calibrate = explainer, calibrate
        self.threshold = self._best_threshold() if threshold == BEST else float(threshold)

    def _best_threshold(self) -> float:
        """Return the run's own threshold, on the scale of the probabilities that are given."""
        best = self.calibration.thresholds["prediction"]
        return float(self.calibration.probability(to_logit(best))) if self.calibrate else best

    def answer(self, asked: list[Article | LeftOut], image_root: ImageRoot | None = None) -> list[Answer]:
        """Answer each article, in their order; an article gets the same answer alone and in any batch.

        Args:
            asked: articles, and those left out, whose answer is the reason.
            image_root: as in `ArticleEncoder.encode`.
        """
        encoded = iter(self._encode([item for item in asked if isinstance(item, Article)], image_root))
        items = [next(encoded) if isinstance(item, Article) else item for item in asked]
        good = [item for item in items if not isinstance(item, LeftOut)]
        answers = iter(self._answers(good))
        return [_refusal(item) if isinstance(item, LeftOut) else next(answers) for item in items]

    def _encode(
        self, articles: list[Article], image_root: ImageRoot | None
    ) -> list[tuple[EncodedArticle, ...] | LeftOut]:
        """Encode each article for each group; one that a group cannot read is left out."""
        shared = SharedReading()
        by_group = [encoder.encode(articles, image_root, shared) for encoder in self.encoders]
        found: list[tuple[EncodedArticle, ...] | LeftOut] = []
        for items in zip(*by_group, strict=True):
            refused = next((item for item in items if isinstance(item, LeftOut)), None)
            found.append(refused or tuple(item for item in items if isinstance(item, EncodedArticle)))
        return found

    @torch.inference_mode()
    def _answers(self, articles: list[tuple[EncodedArticle, ...]]) -> list[Answer]:
        if not articles:
            return []
        outputs, passes = [], []
        for group, read in zip(self.groups, zip(*articles, strict=True), strict=True):
            for output, cache in group.forward(make_batch(read), _occurring_words):
                outputs.append(map_tensors(Tensor.cpu, output))
                if self.explainer is not None:
                    passes.append(MemberPass(group.model, read, map_tensors(Tensor.cpu, cache)))
        output = mean_output(outputs)
        answers = [self._answer(read[0].id, output, row) for row, read in enumerate(articles)]
        if self.explainer is not None:
            self.explainer.explain(passes, answers)
        return answers

    def _answer(self, article_id: str, output: SafeOutput, row: int) -> Answer:
        """Answer the article in one row of the batch. Probability and scores are high for fake."""
        probability, logits = output.probability[row].item(), output.logits[row].tolist()
        if not math.isfinite(probability):
            return _refusal(LeftOut(article_id, "no finite score", "the model's numbers are out of range"))
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


def _occurring_words(vectors: Tensor, tokens: Tensor) -> Words:
    """Look words up in a float64 table of those alone that occur; row 0 is padding's, as in the whole table.

    Args:
        vectors: the whole table (V, E).
        tokens: its rows (B, L) int64.
    """
    rows = torch.cat([tokens.new_zeros(1), tokens.flatten()]).unique()  # ascending, so padding comes first
    return Words(vectors[rows].double(), torch.searchsorted(rows, tokens.contiguous()))


def _refusal(item: LeftOut) -> Answer:
    return {"id": item.path, "error": f"{item.reason} ({item.detail})"}


def answer_to_standard_output(config: PredictConfig) -> int:
    """Answer what the config asks, from standard input if it names no articles; return the number of errors.

    Raises:
        UserError: the run or the input as a whole cannot be used.
        SystemExit: standard output was closed, or Ctrl-C.
    """
    with _only_answers_on_standard_output() as output:
        # A BufferedReader in CPython, whose read1 takes what has arrived; typeshed promises a BinaryIO only.
        return answer_all(config, cast(BufferedReader, sys.stdin.buffer), output)


def answer_all(config: PredictConfig, standard_input: BufferedReader, output: BinaryIO) -> int:
    """Write one JSON object a line for each article, as they arrive; return the number of errors among them.

    Raises:
        UserError: the run or the input as a whole cannot be used.
    """
    stored = open_run(Path(config.run).expanduser(), config.checkpoint)
    stored = stored.with_captioner(config.captioner).with_transformer(config.vectors.model)
    explainer = Explainer.from_config(config, stored) if config.explains else None
    answerer = Answerer(stored, explainer, config.calibrate, config.threshold)
    if config.threshold != THRESHOLD or config.calibrate:
        kind = "calibrated probability" if config.calibrate else "probability"
        log.info("The verdict is fake above a %s of %.6g (threshold=%s).", kind, answerer.threshold, config.threshold)
    answered = failed = 0
    start = told = time.monotonic()
    for asked, image_root in read_questions(config, stored, standard_input):
        answers = answerer.answer(asked, image_root)
        # Half of a surrogate pair, as in a file's name that is not UTF-8, cannot be encoded.
        lines = "".join(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n" for answer in answers)
        output.write(lines.encode("utf-8", "replace"))
        output.flush()
        answered += len(answers)
        failed += sum("error" in answer for answer in answers)
        if time.monotonic() - told > PROGRESS_SECONDS:
            told = time.monotonic()
            log.info("%d answered, %d of them errors, %.0f s", answered, failed, told - start)
    if failed:
        log.warning("%d of %d could not be answered; their lines say why.", failed, answered)
    return failed


def read_questions(
    config: PredictConfig, stored: StoredModel, standard_input: BufferedReader
) -> Iterator[tuple[list[Article | LeftOut], ImageRoot | None]]:
    """Yield the articles to answer, batch by batch, each with the folder outside of which their images may not lie.

    They come from the command line, from `data`, or as JSON lines from standard input.

    Raises:
        UserError: the folder or table has no article, or images=… is no folder.
    """
    first = stored.members[0]  # its captioner is that of all
    captioner = captioner_from_plain(first.artifacts.manifest["settings"]["captioner"])
    if config.one_article:
        image = None if not config.image else Path(config.image).expanduser()
        name = config.id or "article"
        # Read like a line, so that the same words give the same answer. The image is the user's own choice.
        read = LineReader(image and image.parent).read((1, json.dumps(_as_line(config, image)).encode()))
        yield [read if isinstance(read, Article) or config.id else LeftOut(name, read.reason, read.detail)], None
    elif config.data is not None:
        reader = build_reader(config.data, captioner, labelled=False)
        image_root = reader.image_root
        reads_images = captioner.caption_file is None and "visual" in variants[first.model.variant].reads
        if config.data.download_images and reads_images and isinstance(reader, TakesDownloads):
            from safe_exp.data.prepared.downloads import attach_downloads, downloads_folder  # pyarrow is slow to import

            attach_downloads([reader], config.data, fetch=False)
            image_root = (*image_roots(reader), downloads_folder(config.data))
        items, asked = iter(reader.items()), 0
        while batch := list(islice(items, config.batch_size)):
            asked += len(batch)
            yield [reader.read(item) for item in batch], image_root
        if not asked:
            raise UserError(f"data.root={reader.root}: there is no article to ask about.")
    else:
        if standard_input.isatty():
            log.info('Reading JSON lines from the keyboard, such as {"title": "…", "text": "…"}; Ctrl-D ends.')
        images = image_folder(config)
        line_reader = LineReader(images)
        for lines in arriving_lines(standard_input, config.batch_size):
            yield [line_reader.read(line) for line in lines], images and images.expanduser().resolve()


def image_folder(config: PredictConfig) -> Path | None:
    """Return the folder that paths of images start from; None where none is given.

    Raises:
        UserError: it is no folder.
    """
    images = None if config.images is None else Path(config.images)
    if images is not None and not images.expanduser().is_dir():
        raise UserError(f"images={images} is no folder. Expected the one that the lines' images lie in.")
    return images


def _as_line(config: PredictConfig, image: Path | None) -> dict[str, str]:
    """Build the JSON line that would ask about the article on the command line."""
    line = {name: getattr(config, name) for name in ("title", "text", "caption") if getattr(config, name) is not None}
    return line | {"id": config.id or "article"} | ({} if image is None else {"image": image.name})


@contextmanager
def _only_answers_on_standard_output() -> Iterator[BinaryIO]:
    """Yield standard output for the answers alone; what libraries print within the block goes to standard error."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with open(kept, "wb", closefd=False) as output:
            yield output
    except BrokenPipeError:  # closed by a program that has read enough, such as `| head`
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _short(value: float | np.ndarray) -> float:
    """Round a number, or an array (), to DIGITS significant digits."""
    return float(f"{float(value):.{DIGITS}g}")
