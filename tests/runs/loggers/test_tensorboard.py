"""TensorBoard's event files, read back with TensorBoard's own reader."""

import logging

import pytest
from PIL import Image

from safe_exp.config import LoggerConfig
from safe_exp.runs.loggers import check_loggers, close_loggers, log_results, open_loggers
from safe_exp.system.errors import UserError

pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra: tensorboard)")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

CHOSEN = LoggerConfig(csv=False, wandb=False, project="lab", more={"tensorboard": {}})
CONFIG = {
    "model": {"alpha": 0.4, "filter_sizes": [3, 4], "variant": "safe"},
    "compile": False,
    "threads": None,
    "callbacks": {"monitor": "val/loss_prediction"},
}
ARTICLES = [
    {"id": "a", "label": 1, "probability": 0.9},
    {"id": "b", "label": 1, "probability": 0.6},
    {"id": "c", "label": 0, "probability": 0.8},
    {"id": "d", "label": 0, "probability": 0.1},
]


def log_a_run(folder, exit_code, losses):
    Image.new("RGB", (8, 6), "red").save(folder / "roc.png")
    (opened,) = open_loggers(CHOSEN, folder, "model.alpha=0.4 seed=1", "sweep-7", CONFIG)
    opened.log_hyperparams({"of": "the module"})
    for step, loss in losses.items():
        opened.log_metrics({"train/loss": loss}, step)
    opened.finalize("success")  # as Lightning does after the training
    opened.log_metrics({"test/auroc": 0.75}, max(losses))
    log_results([opened], {"roc": folder / "roc.png"}, ARTICLES)
    close_loggers([opened], exit_code)


def read(folder) -> EventAccumulator:
    (run,) = (folder / "tensorboard").iterdir()
    assert run.name == "model.alpha=0.4_seed=1"
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    return events.Reload()


def text(events, tag):
    return [
        value.decode() for event in events.Tensors(f"{tag}/text_summary") for value in event.tensor_proto.string_val
    ]


def hyper_parameters(events):
    """Read what TensorBoard's page of hyper-parameters is made from: the session's start and end."""
    data = {
        tag: plugin_data_pb2.HParamsPluginData.FromString(content)
        for tag, content in events.PluginTagToContent("hparams").items()
    }
    start = data["_hparams_/session_start_info"].session_start_info
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    metrics = [info.name.tag for info in data["_hparams_/experiment"].experiment.metric_infos]
    return values, metrics, data["_hparams_/session_end_info"].session_end_info.status


def test_a_run_has_its_curves_name_sweep_figures_and_hyper_parameters(tmp_path):
    log_a_run(tmp_path, 0, {0: 0.75, 5: 0.5})
    events = read(tmp_path)
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(0, 0.75), (5, 0.5)]
    assert [(event.step, event.value) for event in events.Scalars("test/auroc")] == [(5, 0.75)]
    assert text(events, "run/name") == ["model.alpha=0.4 seed=1"]
    assert text(events, "run/sweep") == ["sweep-7"]
    assert text(events, "run/project") == ["lab"]
    (image,) = events.Images("figures/roc")
    assert (image.width, image.height) == (8, 6)
    values, metrics, _ = hyper_parameters(events)
    assert values == {
        "model.alpha": 0.4,
        "model.filter_sizes": "[3, 4]",
        "model.variant": "safe",
        "compile": False,
        "callbacks.monitor": "val/loss_prediction",
    }
    assert metrics == ["val/loss_prediction", "test/auroc", "test/f1_macro", "test/accuracy"]
    assert "hp_metric" not in events.Tags()["scalars"]


def test_the_curve_of_precision_and_recall_is_that_of_the_test_articles(tmp_path):
    log_a_run(tmp_path, 0, {0: 0.75})
    (event,) = read(tmp_path).Tensors("test/precision_recall")
    shape = [dimension.size for dimension in event.tensor_proto.tensor_shape.dim]
    values = list(event.tensor_proto.float_val)
    columns = [values[row * shape[1] : (row + 1) * shape[1]] for row in range(shape[0])]
    *_, precision, recall = columns
    at = int(0.7 * shape[1])  # above 0.7 are a, which is fake, and c, which is not
    assert (precision[at], recall[at]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("exit_code", "state", "status"), [(0, "finished", "STATUS_SUCCESS"), (1, "failed", "STATUS_FAILURE")]
)
def test_the_exit_state_is_recorded(exit_code, state, status, tmp_path):
    log_a_run(tmp_path, exit_code, {0: 0.75})
    events = read(tmp_path)
    assert text(events, "run/state") == [state]
    assert hyper_parameters(events)[2] == getattr(api_pb2, status)


def test_a_resumed_run_goes_on_in_the_same_run_and_replaces_its_exit_state(tmp_path):
    log_a_run(tmp_path, 1, {0: 0.75})
    log_a_run(tmp_path, 0, {1: 0.5})
    events = read(tmp_path)
    assert sorted((event.step, event.value) for event in events.Scalars("train/loss")) == [(0, 0.75), (1, 0.5)]
    assert text(events, "run/state") == ["finished"]
    assert hyper_parameters(events)[2] == api_pb2.STATUS_SUCCESS


def test_settings_are_refused():
    with pytest.raises(UserError, match=r"logger\.more\.tensorboard: it has no settings, found log_dir\."):
        check_loggers(LoggerConfig(csv=True, wandb=False, project="p", more={"tensorboard": {"log_dir": "here"}}))
