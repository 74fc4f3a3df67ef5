"""TrainedModel: a stored run, a sweep or a bundle as an object that answers articles and is scored on labelled ones."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import torch
from torch import nn

from safe_exp.api.composing import compose_command, write_override
from safe_exp.config import ModelConfig, PredictConfig, plain_config, typed_config
from safe_exp.config.threshold import THRESHOLD
from safe_exp.data.reading.given_articles import GivenReader
from safe_exp.inference.answer import Answer
from safe_exp.inference.answers import Answerer, image_folder
from safe_exp.inference.explainer import Explainer
from safe_exp.inference.served_network import word_rows
from safe_exp.runs.ensemble import StoredModel
from safe_exp.runs.open_run import open_run
from safe_exp.runs.stored_config import CONFIG_FILE, read_stored_config
from safe_exp.runs.stored_run import StoredRun
from safe_exp.system.errors import UserError
from safe_exp.system.files import read_sealed_json

if TYPE_CHECKING:
    from safe_exp.inference.evaluation import Evaluation


def load(
    run: str | PathLike[str],
    checkpoint: str = "best",
    *,
    device: torch.device | str = "cpu",
    captioner: Mapping[str, Any] | None = None,
    vectors_model: str | PathLike[str] | None = None,
) -> TrainedModel:
    """Load a trained model. Seeds, threads, logging and Hydra's global state stay as they are.

    Args:
        run: a run folder, the folder of a sweep (its finished jobs as one model), or a file that export wrote.
        checkpoint: best (on validation) or last.
        device: computes the forward passes; one that knows float64, so no mps.
        captioner: for captioner=patches, `model`, or `_target_` and `arguments`, if they lie elsewhere than at the
            training; a callable is run only if it is named here.
        vectors_model: folder of the transformer that the run reads, if it lies elsewhere than at the training.
    Raises:
        UserError: there is no such model, or a part of it is missing or damaged; the message is that of the command.
    """
    given = {"run": fspath(run), "checkpoint": checkpoint, "vectors.model": vectors_model}
    given |= {f"captioner.{key}": value for key, value in (captioner or {}).items()}
    config: PredictConfig = typed_config(
        compose_command("predict", [write_override(key, value) for key, value in given.items()])
    )
    stored = open_run(Path(config.run).expanduser(), config.checkpoint)
    stored = stored.with_captioner(config.captioner).with_transformer(config.vectors.model)
    return TrainedModel(stored, config).to(device)


@dataclass(frozen=True)
class _Computing:
    """The networks on one device. Answers that were begun on another one stay there."""

    device: torch.device
    networks: tuple[nn.Module, ...]


class TrainedModel:
    """A trained model; `safe_exp.load` makes it.

    It may be used from several threads: `predict` and `evaluate` change nothing in it. PyTorch computes with the
    threads that the program has set. Two models that are loaded at a time know nothing of each other.
    """

    def __init__(self, stored: StoredModel, config: PredictConfig) -> None:
        self.stored = stored  # settings, weights and artifacts of each member, as they were read
        self._config = config
        self._lock = threading.Lock()
        self._answerer: Answerer | None = None
        self._computing = _Computing(torch.device("cpu"), tuple(member.network() for member in stored.members))

    def __repr__(self) -> str:
        kind = f"{len(self.stored.members)} jobs as one model, " if self.stored.jobs else ""
        variant, source = self.stored.members[0].model.variant, str(self.stored.source)
        return f"<TrainedModel {variant}, {kind}run={source}, checkpoint={self.stored.checkpoint}, {self.device}>"

    # ── parts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The network of each member, float32, in evaluation mode, on `device`."""
        return self._computing.networks

    @property
    def network(self) -> nn.Module:
        """The network, float32, in evaluation mode, on `device`.

        Raises:
            UserError: the model has several members.
        """
        return self.networks[self._only("network")]

    @property
    def model_config(self) -> ModelConfig:
        """Typed settings of the network.

        Raises:
            UserError: the model has several members.
        """
        return self.stored.members[self._only("model_config")].model

    @property
    def configs(self) -> tuple[dict[str, Any], ...]:
        """Config of each member as plain values: all of it from a run folder, `model` alone from a bundle."""
        return tuple(_read_config(member) for member in self.stored.members)

    @property
    def config(self) -> dict[str, Any]:
        """Config of the run as plain values: all of it from a run folder, `model` alone from a bundle.

        Raises:
            UserError: the model has several members.
        """
        return self.configs[self._only("config")]

    @property
    def metrics(self) -> dict[str, Any]:
        """Figures of the run, as in its metrics.json; empty for a bundle, which has none.

        Raises:
            UserError: the model has several members, or metrics.json is damaged.
        """
        return read_metrics(self.stored.members[self._only("metrics")].source)

    @property
    def text_vocabulary(self) -> dict[str, int]:
        """Row of each word, or token of a transformer, in the table of word vectors; 0 is padding.

        Raises:
            UserError: the model has several members.
        """
        return word_rows(self.stored.members[self._only("text_vocabulary")].artifacts)

    def _only(self, part: str) -> int:
        """Return the place of the only member.

        Raises:
            UserError: there are several.
        """
        count = len(self.stored.members)
        if count > 1:
            every = part + "s"
            where = f"`{every}` has them all" if hasattr(type(self), every) else "load the folder of one job"
            raise UserError(f"run={self.stored.source} is {count} jobs as one model, without one {part}: {where}.")
        return 0

    @property
    def device(self) -> torch.device:
        """The device of the forward passes."""
        return self._computing.device

    def to(self, device: torch.device | str) -> TrainedModel:
        """Move the networks to a device, and return this model. The model of a captioner stays where it is.

        Raises:
            UserError: the device cannot be used.
        """
        try:
            wanted = torch.device(device)
            if wanted.type == "mps":
                raise UserError("device=mps has no float64, in which answers are computed. Take cpu or cuda.")
            torch.empty(0, device=wanted)
        except (RuntimeError, AssertionError) as error:  # PyTorch without CUDA raises the latter
            raise UserError(f"device={device}: {str(error).splitlines()[0]}") from error
        with self._lock:
            if wanted != self.device:
                networks = tuple(network.to(wanted) for network in self.networks)
                self._computing, self._answerer = _Computing(wanted, networks), None
        return self

    # ── answers ───────────────────────────────────────────────────────────────────────────────────────────────────────

    @overload
    def predict(self, articles: Sequence[Mapping[str, Any]], **settings: Any) -> list[Answer]: ...

    @overload
    def predict(self, articles: Iterable[Mapping[str, Any]], **settings: Any) -> Iterator[Answer]: ...

    @overload
    def predict(self, articles: Any, **settings: Any) -> list[Answer]: ...

    def predict(  # type: ignore[misc]
        self,
        articles: Any,
        *,
        explain: bool = False,
        threshold: float | str = THRESHOLD,
        calibrate: bool = False,
        images: str | PathLike[str] | None = None,
        explain_to: str | PathLike[str] | None = None,
        phrases: int = 8,
        batch_size: int = 32,
    ) -> list[Answer] | Iterator[Answer]:
        """Answer articles, each as `python -m safe_exp.predict` does.

        Args:
            articles: dicts with any of `id`, `title`, `text`, `caption` and `image`, or a data frame (pandas, polars)
                with such columns. An image is a path, bytes of an image file, or a picture of Pillow; several are a
                list.
            explain: add the phrases and patches that moved verdict and similarity.
            threshold: probabilities above it are called fake; 0 to 1, or best: the run's own, from validation.
            calibrate: probabilities at the temperature fitted on validation; `threshold` applies to these.
            images: the folder that paths of images start from and may not leave; None: any path is read. Give a folder
                where the articles come from elsewhere.
            explain_to: folder for pictures with the patches outlined; implies `explain`.
            phrases: phrases listed in each part of an explanation; the weaker ones are summed.
            batch_size: articles answered at a time.
        Returns:
            An answer for each article, in their order: of a list or a data frame a list; of another iterable an
            iterator, which reads `batch_size` articles ahead and holds no more. An article that cannot be answered
            has the keys `id` and `error`.
        Raises:
            UserError: a setting cannot be used, or the run has no calibration or no explanation.
            TypeError: `articles` is a single article, or nothing that can be gone through.
        """
        config = replace(
            self._config,
            explain=explain,
            explain_to=None if explain_to is None else fspath(explain_to),
            threshold=threshold,
            calibrate=calibrate,
            images=None if images is None else fspath(images),
            phrases=phrases,
            batch_size=batch_size,
        )
        listed = _list_articles(articles)
        folder = image_folder(config)
        explainer = Explainer.of(self.stored, phrases, config.explain_to) if config.explains else None
        answerer = self._find_answerer().deciding(explainer, calibrate, threshold)
        answers = _answer(answerer, GivenReader(folder), listed, batch_size)
        return list(answers) if isinstance(listed, Sequence) else answers

    def _find_answerer(self) -> Answerer:
        """Return the answerer of this device, built when first needed: its networks are float64."""
        with self._lock:
            if self._answerer is None:
                self._answerer = Answerer(self.stored, device=self.device)
            return self._answerer

    # ── scores ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def evaluate(
        self,
        root: str | PathLike[str] | None = None,
        *,
        data: str | None = None,
        threshold: float | str = THRESHOLD,
        **settings: Any,
    ) -> Evaluation:
        """Score the model on labelled articles, as `python -m safe_exp.evaluate` does; no run folder is written.

        Args:
            root: folder or table of the articles; None: where `data` has a place of its own.
            data: the kind of data set, a file of conf/data; None: `table` for a file, `fakenewsnet` for a folder.
            threshold: probabilities above it are called fake; 0 to 1, or best: the run's own, from validation.
            settings: further keys of `data`, such as columns={"text": "body"}. Prepared articles are kept in the
                folder `prepared`, by default data/prepared.
        Returns:
            `metrics` as in metrics.json, `predictions`, and `manifest` as in data_manifest.json.
        Raises:
            UserError: the articles cannot be used, or a setting; the message is that of the command.
        """
        from safe_exp.inference.evaluation import score_articles  # its metrics are slow to import
        from safe_exp.scoring.results import json_ready

        if data is None and root is not None:
            data = "table" if Path(root).expanduser().is_file() else "fakenewsnet"
        given = {"threshold": threshold} | {f"data.{key}": value for key, value in settings.items()}
        if root is not None:
            given["data.root"] = root
        overrides = ["run=unread", *([] if data is None else [f"data={data}"])]
        overrides += [write_override(key, value) for key, value in given.items()]
        config = replace(typed_config(compose_command("evaluate", overrides)), run=str(self.stored.source))
        found = score_articles(replace(config, checkpoint=self.stored.checkpoint), self.stored, device=self.device)
        return replace(found, metrics=json_ready(found.metrics))


def _list_articles(articles: Any) -> Iterable[Any]:
    """List the rows of a data frame; anything else that can be gone through stays as it is.

    Raises:
        TypeError: it is a single article, or nothing that can be gone through.
    """
    if hasattr(articles, "iloc") and hasattr(articles, "to_dict"):  # pandas
        return cast("list[Any]", articles.to_dict("records"))
    if hasattr(articles, "to_dicts"):  # polars
        return cast("list[Any]", articles.to_dicts())
    if isinstance(articles, Mapping | str | bytes) or not isinstance(articles, Iterable):
        raise TypeError(
            f"articles: expected a list of dicts, found a {type(articles).__name__}; one article is [article]."
        )
    return articles


def _answer(answerer: Answerer, reader: GivenReader, articles: Iterable[Any], batch_size: int) -> Iterator[Answer]:
    """Answer articles, batch by batch."""
    root = None if reader.images is None else reader.images.expanduser().resolve()
    numbered = enumerate(articles, 1)
    while batch := list(islice(numbered, batch_size)):
        yield from answerer.answer([reader.read_item(number, item) for number, item in batch], root)


def _read_config(member: StoredRun) -> dict[str, Any]:
    """Read the stored config of a member as plain values; of a bundle its section `model`, which is all that it has."""
    if (member.source / CONFIG_FILE).is_file():
        return read_stored_config(member.source)
    return {"model": plain_config(member.model)}


def read_metrics(run: Path) -> dict[str, Any]:
    """Read a run's metrics.json; empty where there is none.

    Raises:
        UserError: it is damaged.
    """
    path = run / "metrics.json"
    try:
        return read_sealed_json(path)[0] if path.is_file() else {}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}).") from error
