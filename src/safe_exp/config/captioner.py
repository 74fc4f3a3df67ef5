"""Type of conf/captioner/: keys that all captioners share. Each captioner's own are beside it, in data/captioners/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from omegaconf import MISSING

from safe_exp.system.errors import UserError


@dataclass
class StoredCaptioner:
    """Parts of a stored run's captioner that lie outside of the run, as the user names them to predict and evaluate."""

    model: str | None = None  # folder of its model, or id on the hub, if not as at the training; null: as it was
    _target_: str | None = None  # the callable of captioner=patches: nothing that a stored run names is run by itself
    arguments: Any = None  # of that callable by name, as at the training; null: none


@dataclass
class CaptionerConfig:
    """The source of the sentence that describes an image."""

    name: str = MISSING  # name of the captioner

    # Facts about the captioner for other code, not keys. A captioner for which another value holds overrides it.
    stored: ClassVar[bool] = False  # true of settings from a stored run, which may name what the user has not chosen
    caption_file: ClassVar[str | None] = None  # file beside each article with its sentence; None: it reads the image
    grids: ClassVar[Sequence[int]] = ()  # g of each level of g x g patches, one word a patch; (): words name no patches

    @property
    def source(self) -> str:
        """Name of the model or callable behind it, for messages."""
        return self.name

    def at_hand(self, given: StoredCaptioner) -> CaptionerConfig:
        """Return the settings of a stored run's captioner with what the user names in place of what was stored.

        Raises:
            UserError: the user must name something, or names something that the captioner does not have.
        """
        if given != StoredCaptioner():
            raise UserError(
                f"captioner.model, captioner._target_ and captioner.arguments are for runs with captioner=patches, and "
                f"this run has captioner={self.name}. Leave them out."
            )
        return self
