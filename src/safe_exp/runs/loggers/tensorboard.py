"""TensorBoard's event files, in tensorboard/ of the run folder: curves, hyper-parameters, figures and a P-R curve."""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

from safe_exp.runs.loggers import LoggedRun, LoggerKind, loggers
from safe_exp.system.errors import UserError
from safe_exp.system.files import short_path
from safe_exp.system.nested import flat

log = logging.getLogger(__name__)

FOLDER = "tensorboard"
STATE_SUFFIX = ".state"  # of the event file that holds the exit state; a resumed run replaces it
COMPARED = ("auroc", "f1_macro", "accuracy")  # test figures beside the hyper-parameters
MAX_NAME = 100  # characters of a folder's name


class TensorBoard(LoggerKind):
    """TensorBoard. The run's name is that of its folder of event files, its sweep and project are texts.

    A resumed run writes a further file into the same folder, which TensorBoard shows as one run.
    """

    name, title, package = "tensorboard", "TensorBoard", "tensorboard"

    def check(self, settings: Mapping[str, Any]) -> None:
        if settings:
            raise UserError(
                f"logger.more.tensorboard: it has no settings, found {', '.join(settings)}. Leave them out."
            )

    def open(self, settings: Mapping[str, Any], run: LoggedRun) -> TensorBoardLogger:
        logger = RunTensorBoardLogger(run)
        for old in Path(logger.log_dir).glob(f"*{STATE_SUFFIX}"):
            old.unlink()
        writer = logger.experiment
        for key, text in (("name", run.name), ("sweep", run.group), ("project", run.project)):
            if text is not None:
                writer.add_text(f"run/{key}", text)
        logger.log_config()
        above = run.sweep_folder or run.folder
        log.info("TensorBoard: to look at it: tensorboard --logdir %s", shlex.quote(str(short_path(above))))
        return logger

    def log_results(self, logger: Any, figures: dict[str, Path], predictions: list[dict[str, Any]]) -> None:
        import numpy as np
        from PIL import Image

        writer = logger.experiment
        for name, path in figures.items():
            with Image.open(path) as image:
                writer.add_image(f"figures/{name}", np.asarray(image.convert("RGB")), dataformats="HWC")
        labels, probabilities = ([article[key] for article in predictions] for key in ("label", "probability"))
        if predictions:
            writer.add_pr_curve("test/precision_recall", np.asarray(labels), np.asarray(probabilities))

    def close(self, logger: Any, exit_code: int) -> None:
        logger.experiment.close()
        logger.log_state(exit_code)


class RunTensorBoardLogger(TensorBoardLogger):
    """Lightning's logger, with the resolved config as hyper-parameters, and with the exit state."""

    def __init__(self, run: LoggedRun) -> None:
        name = re.sub(r"[^\w.=,+-]", "_", run.name)[:MAX_NAME]
        super().__init__(run.folder / FOLDER, name="", version=name, default_hp_metric=False)
        self.run = run

    def log_config(self) -> None:
        """Write the hyper-parameters, and the names of the figures that TensorBoard shows beside them."""
        from torch.utils.tensorboard.summary import hparams

        plain = {key: _plain(value) for key, value in flat(self.run.config).items()}
        monitor = str(flat(self.run.config).get("callbacks.monitor", "val/auroc"))
        names = dict.fromkeys([monitor, *(f"test/{name}" for name in COMPARED)], 0.0)
        experiment, start, _ = hparams(plain, names)  # the third says "success", which is not known yet
        for summary in (experiment, start):
            self.experiment.file_writer.add_summary(summary)

    def log_state(self, exit_code: int) -> None:
        """Write the exit state into a file of its own, once the event file is closed."""
        from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2
        from torch.utils.tensorboard import SummaryWriter
        from torch.utils.tensorboard.summary import hparams

        failed = exit_code != 0
        _, _, end = hparams({}, {})
        content = end.value[0].metadata.plugin_data
        data = plugin_data_pb2.HParamsPluginData.FromString(content.content)
        data.session_end_info.status = api_pb2.STATUS_FAILURE if failed else api_pb2.STATUS_SUCCESS
        content.content = data.SerializeToString()
        with SummaryWriter(self.log_dir, filename_suffix=STATE_SUFFIX) as writer:
            writer.add_text("run/state", "failed" if failed else "finished")
            writer.file_writer.add_summary(end)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the resolved config has been written, and the module's copy is a part of it."""

    def save(self) -> None:
        """Write what is waiting; Lightning would add a file of hyper-parameters, which the run folder has."""
        self.experiment.flush()

    def finalize(self, status: str) -> None:
        """Write what is waiting: Lightning calls it after the training, and the test figures come later."""
        self.experiment.flush()


def _plain(value: Any) -> bool | int | float | str | None:
    """Convert a value to one that TensorBoard takes as a hyper-parameter; it leaves out None."""
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


loggers.add(TensorBoard())
