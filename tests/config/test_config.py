"""conf/ and its types: all files that are shipped compose, and wrong values are refused by name."""

import inspect
from dataclasses import fields

import pytest
import pytorch_lightning as pl
from hydra.errors import ConfigCompositionException
from omegaconf import OmegaConf

from safe_exp.config import CONF, TrainerConfig, plain_config, trainer_arguments
from safe_exp.config.data import PATH_KEYS, absolute_paths
from safe_exp.config.threshold import THRESHOLD
from safe_exp.data.reading.readers import readers
from safe_exp.network.safe_network import VARIANTS
from safe_exp.network.variants import variants
from safe_exp.system.errors import UserError
from tests.made import compose_config

GROUPS = ("model", "optimizer", "scheduler", "trainer", "callbacks", "logger", "captioner", "vectors")
OPTIONS = sorted((group, path.stem) for group in GROUPS for path in (CONF / group).glob("*.yaml"))
NEEDED = {  # keys without which an option is refused
    ("captioner", "patches"): ["captioner._target_=module.name"],
    ("optimizer", "any"): ["optimizer._target_=torch.optim.RMSprop", "model.gamma=0.01"],
    ("vectors", "transformer"): ["vectors.model=folder"],
}
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def test_every_group_has_options():
    assert {group for group, _ in OPTIONS} == set(GROUPS)


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_to_a_valid_config(group, option):
    plain_config(compose_config(f"{group}={option}", *NEEDED.get((group, option), [])))


def test_experiments_are_found():
    assert EXPERIMENTS


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_to_a_valid_config(name):
    experiment = OmegaConf.load(CONF / "experiment" / f"{name}.yaml")
    needed = [f"{key}=given" for key in OmegaConf.missing_keys(experiment)]
    if {"override /vectors": "transformer"} in experiment.defaults:
        needed += NEEDED["vectors", "transformer"]
    composed = compose_config(f"experiment={name}", *needed)
    assert composed.refit == experiment.get("refit", False)  # a key of train.yaml itself, whose default is false


@pytest.mark.parametrize("command", ["train", "evaluate", "predict"])
def test_conf_cuts_verdicts_at_the_threshold_of_the_metrics(command):
    assert OmegaConf.load(CONF / f"{command}.yaml").threshold == THRESHOLD


def test_fakenewsnet_asks_for_its_folder():
    with pytest.raises(UserError, match=r"data.root must be given, as in data.root=… on the command line"):
        compose_config("data=fakenewsnet")
    assert compose_config("data=fakenewsnet", "data.root=articles").data.root == "articles"


def test_conf_names_every_variant_and_each_option_names_its_own():
    options = {path.stem for path in (CONF / "model").glob("*.yaml")}  # several may name the same variant
    assert {*VARIANTS, "released"} <= set(variants.names()) <= options
    for variant in variants:
        assert compose_config(f"model={variant.name}").model.variant == variant.name


def test_an_unknown_variant_is_refused_and_the_message_lists_the_names():
    listed = ",.* ".join(sorted([*VARIANTS, "released"]))  # others may lie between
    with pytest.raises(UserError, match=rf"model\.variant=best: expected one of .*\b{listed}\b"):
        compose_config("model.variant=best")


def test_settings_that_a_variant_does_not_know_are_refused_by_name():
    with pytest.raises(
        UserError, match=r"model\.extra\.width: model=safe has no such setting\. It has none of its own"
    ):
        compose_config("+model.extra.width=3")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model=released", "model.update=algorithm1"], r"model.update=algorithm1: the paper's loop knows one text"),
        (["model=released", "model.word_dim=0"], r"model.word_dim=0"),
        (["model=released", "model.body_words=null"], r"model.body_words"),
        (["model=safe", "model.word_dim=16"], r"model.word_dim=16 has a meaning for model=released alone"),
        (["model=released", "model.alpha=0", "model.beta=0"], r"both 0: nothing is learned"),
    ],
)
def test_settings_that_the_released_architecture_lacks_are_refused(overrides, message):
    with pytest.raises(UserError, match=message):
        compose_config(*overrides)


def test_gamma_is_the_learning_rate_and_each_optimizer_has_its_own_default():
    assert compose_config("model.gamma=0.123").optimizer.lr == 0.123
    sgd, adam = compose_config("optimizer=sgd"), compose_config("optimizer=adam")
    assert compose_config("optimizer=adamw").optimizer._target_ == "torch.optim.AdamW"
    assert sgd.optimizer.lr == sgd.model.gamma
    assert adam.optimizer.lr == adam.model.gamma
    assert sgd.model.gamma != adam.model.gamma


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["model.alpha=-1"], r"model.alpha=-1.0: expected a number >= 0"),
        (["model.beta=-0.1"], r"model.beta=-0.1: expected a number >= 0"),
        (["model.alpha=nan"], r"model.alpha=nan: expected a number >= 0"),
        (["model.alpha=0", "model.beta=0"], r"model.alpha and model.beta are both 0"),
        (["model.gamma=0"], r"model.gamma=0.0: expected a number > 0"),
        (["model.gamma=inf"], r"model.gamma=inf: expected a number > 0"),
        (["model.filter_sizes=[]"], r"model.filter_sizes is empty"),
        (["model.filter_sizes=[3,0]"], r"every width must be >= 1"),
        (["model.filter_sizes=[3,3]"], r"repeats a width"),
        (
            ["model.article_weights=publisher"],
            r"article_weights=publisher: expected none or class or source or source_",
        ),
        (["model.label_smoothing=1"], r"model.label_smoothing=1.0: expected a number >= 0 and < 1"),
        (["model.pooled_dropout=-0.1"], r"model.pooled_dropout=-0.1: expected a number >= 0 and < 1"),
        (["model.feature_dropout=nan"], r"model.feature_dropout=nan: expected a number >= 0 and < 1"),
        (["model.num_filters=0"], r"model.num_filters=0: expected a number >= 1"),
        (["model.feature_dim=0"], r"model.feature_dim=0"),
        (["model=text_only", "model.alpha=0"], r"model.alpha and model.beta are both 0"),
        (["model=no_similarity", "model.beta=0.4"], r"model=no_similarity has no similarity loss. Set model.beta=0"),
        (["model=similarity_only", "model.alpha=0.5"], r"M_s alone decides .* Set model.alpha=0"),
        (["model=similarity_only", "model.beta=0"], r"both 0"),
        (["data.batch_size=0"], r"data.batch_size=0: expected a number >= 1"),
        (["data.test_fraction=0.9"], r"data.test_fraction=0.9: expected a share above 0 and at most 0.5"),
        (["data.folds=5", "data.fold=5"], r"data.fold=5: expected 0 to 4"),
        (["data.fold=1"], r"data.fold=1 has no meaning without data.folds"),
        (["data.test_root=x"], r"data.test_root=x has no meaning with data.split=random; add data.split=given"),
        (
            ["data.split=date", "data.val_root=x"],
            r"data.val_root=x has no meaning with data.split=date; add data.split",
        ),
        (["data.drop_leaks=true"], r"no meaning with data.split=random, which keeps near-duplicates on one side"),
        (
            ["data.split=given", "data.folds=5"],
            r"data.folds=5 with data.split=given: the given test side is one. Leave out data.folds \(data.folds=null\)",
        ),
        (["data.cue_strength=2"], r"data.cue_strength=2.0: expected a number from 0 to 1"),
        (["callbacks.monitor=test/f1"], r"expected a validation metric"),
        (["callbacks.mode=up"], r"expected min or max"),
        (["trainer.gradient_clip_val=-1"], r"trainer.gradient_clip_val=-1.0: expected a number > 0"),
        (["trainer.accumulate_grad_batches=2"], r"one step for each mini-batch. Raise data.batch_size instead"),
        (["captioner.file_name=../x"], r"captioner.file_name=../x: expected the bare name of a file"),
        (["captioner=visual_words", "captioner.grids=[]"], r"captioner.grids=\[\]: expected at least one number"),
        (["captioner=visual_words", "captioner.grids=[4,17]"], r"captioner.grids=\[4, 17\]: .* from 1 to 16"),
        (["captioner=visual_words", "captioner.patch_pixels=31"], r"captioner.patch_pixels=31: .* even number from 8"),
        (["captioner=visual_words", "captioner.words=1"], r"captioner.words=1: expected a number >= 2"),
        (["captioner=visual_words", "captioner.sample_patches=127"], r"sample_patches=127: expected a number >= 128"),
        (["captioner=blip", "captioner.revision=main"], r"captioner.revision=main: expected the 40 hex.* not a branch"),
        (["captioner=blip", "captioner.device=gpu"], r"captioner.device=gpu: expected auto, cpu, cuda, cuda:N or mps"),
        (["captioner=blip", "captioner.num_beams=0"], r"captioner.num_beams=0: expected a number >= 1"),
        (["captioner=blip", "captioner.model=''"], r"captioner.model is empty"),
        (["trainer.max_steps=0"], r"trainer.max_steps=0: expected a number >= 1"),
        (["trainer.max_epochs=2", "trainer.min_epochs=3"], r"min_epochs=3: it is more than trainer.max_epochs=2"),
        (["trainer.max_steps=9", "trainer.min_epochs=2"], r"the two may contradict. Leave one of them out"),
        (
            ["callbacks.monitor=val/accurracy", "callbacks.mode=max"],
            r"is not logged with model=safe. Choose one of val/acc",
        ),
        (["model=text_only", "callbacks.monitor=val/similarity_auroc"], r"is not logged with model=text_only"),
        (
            ["callbacks.monitor=val/auroc"],
            r"mode=min would pick the worst checkpoint by val/auroc. Set callbacks.mode=max",
        ),
        (["callbacks.mode=max"], r"would pick the worst checkpoint by val/loss_prediction"),
        (["trainer.limit_val_batches=0"], r"limit_val_batches=0: a run .* picks its checkpoint by validation"),
        (["trainer.limit_test_batches=0.0"], r"each needs articles"),
        (["trainer.check_val_every_n_epoch=2"], r"check_val_every_n_epoch=2: every epoch is validated once"),
        (["trainer.val_check_interval=0.3"], r"every epoch is validated once, at its end"),
        (["trainer.enable_checkpointing=false"], r"enable_checkpointing=false: a run is scored from checkpoints/best"),
        (["trainer.barebones=true"], r"there must be checkpoints"),
        (["trainer.precision=16-mixed"], r"Take trainer.precision=bf16-mixed, or model.update=autograd"),
        (["trainer.precision=16", "model.update=algorithm1"], r"which model.update=algorithm1 does without"),
        (["trainer.precision=16-true"], r"Take bf16-true"),
        (["seed=-1"], r"seed=-1: expected a whole number from 0 to 4294967295"),
        (["seed=1764109330123456789"], r"seed=1764109330123456789: expected a whole number from 0 to 4294967295"),
        (["data.seed=4294967296"], r"data.seed=4294967296: expected a whole number from 0 to 4294967295"),
        (["vectors.seed=-1"], r"vectors.seed=-1: expected a whole number"),
        (["vectors=transformer"], r"vectors.model must be given"),
        (
            ["vectors=transformer", "vectors.model=F", "vectors.batch_size=0"],
            r"vectors.batch_size=0: expected a number >= 1",
        ),
        (["vectors=transformer", "vectors.model=F", "vectors.device=gpu"], r"vectors.device=gpu: expected auto, cpu"),
    ],
)
def test_a_wrong_value_is_refused_with_its_key(overrides, message):
    with pytest.raises(UserError, match=message):
        compose_config(*overrides)


def test_alpha_zero_is_allowed_since_the_paper_s_grid_has_it():
    assert compose_config("model.alpha=0", "model.beta=1").model.alpha == 0


@pytest.mark.parametrize(
    "override",
    ["model.alpah=1", "model.update=by_hand", "trainer.max_epochs=many", "model.similarity_loss=fake_only",
     "model=best", "data.split=half", "optimizer.momentun=0.9", "model.filter_sizes=3", "captioner=answerer",
     "captioner.words=9"],
)  # fmt: skip
def test_a_wrong_name_or_type_is_refused_while_composing(override):
    """Hydra then refuses it for every job of a sweep before the first one starts."""
    with pytest.raises(ConfigCompositionException):
        compose_config(override)


def test_every_argument_of_the_trainer_is_a_key_except_those_that_the_framework_sets():
    ours = {"logger", "callbacks", "plugins", "default_root_dir", "use_distributed_sampler"}
    lightning = set(inspect.signature(pl.Trainer.__init__).parameters) - {"self"}
    assert {field.name for field in fields(TrainerConfig)} == lightning - ours


def test_only_keys_that_are_set_reach_the_trainer_and_clipping_never_does():
    assert trainer_arguments(compose_config("trainer.max_epochs=null").trainer)["max_epochs"] == -1
    config = compose_config(
        "trainer.max_epochs=3", "trainer.max_steps=9", "trainer.gradient_clip_val=1.0", "trainer.precision=bf16-mixed"
    )
    arguments = trainer_arguments(config.trainer)
    assert arguments["max_epochs"] == 3
    assert arguments["precision"] == "bf16-mixed"
    assert "gradient_clip_val" not in arguments
    assert "max_steps" not in arguments


@pytest.mark.parametrize(
    ("given", "words"),
    [("rest", ["rest"]), ("[a,b]", ["a", "b"]), ("[1,true,0.5]", ["1", "True", "0.5"]), ("word", ["word"])],
)
def test_labels_are_words_or_the_rest(given, words):
    config = compose_config("data=table", "data.root=t.csv", f"data.labels.fake={given}", "data.labels.ignore=[7]")
    assert config.data.labels.fake == plain_config(config)["data"]["labels"]["fake"] == words
    assert (config.data.labels.real, config.data.labels.ignore) == (["real"], ["7"])


def test_a_dialect_is_one_of_eight():
    assert compose_config("data=table", "data.root=t.csv", "data.dialect=tab-unquoted").data.dialect == "tab-unquoted"
    with pytest.raises(
        UserError, match=r"data\.dialect=tabs: expected null .* comma-quoted, comma-unquoted, tab-quoted"
    ):
        compose_config("data=table", "data.root=t.csv", "data.dialect=tabs")


def test_the_paths_of_a_data_set_start_where_the_command_was_started(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/reader")
    data = {"root": "a.csv", "val_root": None, "test_root": "~/b.csv", "images": "/pictures", "name": "table"}
    assert absolute_paths(data, tmp_path) == {
        "root": f"{tmp_path}/a.csv", "test_root": "/home/reader/b.csv", "images": "/pictures"
    }  # fmt: skip
    texts = (str, str | None, "str", "str | None")
    kinds = {field.name for kind in readers for field in fields(kind.config) if field.type in texts}
    words = {"name", "words", "image_pattern", "image_separator", "records", "dialect"}
    assert kinds - words == set(PATH_KEYS)  # a new key is a path, or it is not
