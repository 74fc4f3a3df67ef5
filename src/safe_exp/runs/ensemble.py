"""An ensemble: the finished jobs of a sweep as one model, whose logit is the mean of theirs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from safe_exp.config import LossSettings, StoredCaptioner
from safe_exp.data.artifacts import LATER_SHAPING_KEYS, SHAPING_KEYS, Artifacts
from safe_exp.runs.stored_run import StoredRun
from safe_exp.scoring.calibration import VALIDATION, Calibration
from safe_exp.system.errors import UserError

# Settings of the data in which jobs may differ: where their articles stand, and how much of them they read.
FREE_SETTINGS = (*SHAPING_KEYS, *LATER_SHAPING_KEYS)


@dataclass(frozen=True)
class Ensemble:
    """Trained models of one kind that answer together, with the interface of a StoredRun.

    The logit ln ŷ/(1-ŷ) is the mean of the members' logits, ŷ its sigmoid, and s the mean of the members' similarities.
    """

    members: tuple[StoredRun, ...]
    jobs: Mapping[str, str]  # by name, in the order of the members: the settings in which they differ
    calibration: Calibration | None
    source: Path  # the sweep's folder, or the file that it was read from
    checkpoint: str = "best"  # or last
    fitted_on: str = VALIDATION  # the articles of the calibration: VALIDATION or FOLDS
    uncalibrated: str = ""  # reason why it has no calibration at its best checkpoints

    @property
    def loss_settings(self) -> LossSettings:
        """The means of α and of β, with which L is the mean of the members' own losses; and the kind of L_s."""
        models, count = [member.model for member in self.members], len(self.members)
        return {
            "alpha": sum(model.alpha for model in models) / count,
            "beta": sum(model.beta for model in models) / count,
            "similarity_loss": models[0].similarity_loss.value,
        }

    def with_captioner(self, given: StoredCaptioner) -> Ensemble:
        """Return the ensemble with the parts of its captioner that the user names: see `Artifacts.captioner`."""
        return self._changed(lambda member: member.with_captioner(given))

    def with_transformer(self, model: str | None) -> Ensemble:
        """Return the ensemble with another place of the transformer that its members read; None: as it was.

        Raises:
            UserError: they read no hidden states.
        """
        return self if model is None else self._changed(lambda member: member.with_transformer(model))

    def _changed(self, change: Callable[[StoredRun], StoredRun]) -> Ensemble:
        """Change every member; artifacts that are one object stay one."""
        changed: dict[int, Artifacts] = {}
        members = []
        for member in self.members:
            key = id(member.artifacts)
            if key not in changed:
                changed[key] = change(member).artifacts
            members.append(replace(member, artifacts=changed[key]))
        return replace(self, members=tuple(members))

    def explain_missing_calibration(self) -> str:
        """Say in one sentence, for an error message, why it has no calibration."""
        if self.checkpoint != "best":
            return (
                f"run={self.source} is calibrated at its jobs' best checkpoints, not at their {self.checkpoint} ones."
            )
        return f"run={self.source} has no calibration: {self.uncalibrated or 'its sweep had none'}."


StoredModel: TypeAlias = StoredRun | Ensemble  # what predict, evaluate and export are given


def require_one_kind(members: Sequence[StoredRun], names: Sequence[str]) -> None:
    """Refuse models whose logits have no meaningful mean, or that do not read the same words.

    They may differ in loss weights, sizes, seeds, folds and vocabularies.

    Args:
        names: of the members, for the message.
    Raises:
        UserError: the first difference.
    """
    first = _kind(members[0])
    for name, member in zip(names[1:], members[1:], strict=True):
        kind = _kind(member)
        for key in sorted(first.keys() | kind.keys()):
            if first.get(key) != kind.get(key):
                one, other = (f"{key}={has[key]}" if key in has else f"no {key}" for has in (first, kind))
                raise UserError(
                    f"job {names[0]} has {one}, and job {name} has {other}: they cannot answer as one model. "
                    "Expected jobs of one variant, trained on one data set that they read alike; give a sweep over "
                    "folds, seeds or weights, or the folder of one job."
                )


def _kind(member: StoredRun) -> dict[str, Any]:
    """List what jobs of one kind have in common, by key."""
    manifest = member.artifacts.manifest
    settings = {key: value for key, value in manifest["settings"].items() if key not in FREE_SETTINGS}
    return settings | {
        "model.variant": member.model.variant,
        "model.similarity_loss": member.model.similarity_loss.value,
        "model.extra": member.model.extra,
        "data": manifest.get("name"),
    }


def share_equal_parts(found: Artifacts, known: Sequence[Artifacts]) -> Artifacts:
    """Replace what equals a part of earlier artifacts by that very part, so that it takes memory once.

    Args:
        known: of other members, whose parts are shared already.
    """
    for other in known:
        same = {
            part.name: getattr(other, part.name)
            for part in fields(found)
            if _equal(getattr(found, part.name), getattr(other, part.name))
        }
        if len(same) == len(fields(found)):
            return other
        found = replace(found, **same)
    return found


def _equal(left: Any, right: Any) -> bool:
    """Compare two parts of artifacts of the same name."""
    if left is right:
        return True
    if type(left) is not type(right):
        return False
    if isinstance(left, Tensor):
        return left.dtype == right.dtype and torch.equal(left, right)
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, Tokenizer):
        return left.to_str() == right.to_str()
    if is_dataclass(left):
        return all(_equal(getattr(left, part.name), getattr(right, part.name)) for part in fields(left))
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)
    return bool(left == right)
