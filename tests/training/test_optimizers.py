"""Any optimizer and scheduler of PyTorch in the training loop, against PyTorch's own, stepped by hand."""

import inspect
import io

import pytest
import pytorch_lightning as pl
import torch
from hydra import compose, initialize_config_dir
from torch.optim import lr_scheduler

from safe_exp.config import CONF, plain_config, typed_config
from safe_exp.equations import safe_loss
from safe_exp.system.errors import UserError
from safe_exp.training.checks import check_config
from safe_exp.training.module import SafeModule
from safe_exp.training.optimizers import build_scheduler
from tests.made import compose_config, draw_batch, draw_module, loader, word_vectors

BATCHES = [draw_batch(seed=seed) for seed in range(3)]
REFUSED = {
    "LBFGS": r"LBFGS: a step of it computes the loss several times \(its closure\)",
    "Muon": r"Muon cannot train this network: Muon only supports 2D parameters",
    "SparseAdam": r"SparseAdam cannot train this network: SparseAdam does not support dense gradients",
}
OPTIMIZERS = sorted(
    name for name, kind in vars(torch.optim).items() if inspect.isclass(kind) and kind is not torch.optim.Optimizer
)


class GammaOfEachStep(pl.Callback):
    """Reads the learning rate with which each step is taken."""

    def __init__(self):
        self.gammas, self.logged = [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gammas.append(optimizer.param_groups[0]["lr"])

    def on_train_epoch_end(self, trainer, pl_module):
        self.logged.append(float(trainer.callback_metrics["train/gamma"]))


def fit(module, epochs=2, batches=BATCHES, **arguments):
    steps = GammaOfEachStep()
    trainer = pl.Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, callbacks=[steps], **arguments,
    )  # fmt: skip
    trainer.fit(module, loader(*batches), loader(*batches))
    return steps


def any_optimizer(name, *overrides):
    return "optimizer=any", f"optimizer._target_=torch.optim.{name}", "model.gamma=0.01", *overrides


def test_pytorch_s_optimizers_are_found():
    assert len(OPTIMIZERS) > 12
    assert set(REFUSED) <= set(OPTIMIZERS)


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in REFUSED])
def test_every_optimizer_of_pytorch_takes_the_steps_that_it_takes_by_hand(name):
    """By hand: autograd's gradients, and PyTorch's class without a config."""
    module, twin = draw_module(*any_optimizer(name)).double(), draw_module().double()
    fit(module, precision="64-true")
    optimizer = getattr(torch.optim, name)(twin.network.parameters(), lr=0.01)
    for batch in [*BATCHES, *BATCHES]:
        optimizer.zero_grad()
        safe_loss(twin.network(**twin.embed(batch)), batch.label, alpha=0.6, beta=0.4).total.backward()
        optimizer.step()
    for ours, theirs in zip(module.network.parameters(), twin.network.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", REFUSED)
def test_an_optimizer_that_cannot_train_the_network_is_refused_with_the_reason(name):
    with pytest.raises(UserError, match=REFUSED[name]):
        compose_config(*any_optimizer(name))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (any_optimizer("RMSprop", "optimizer.alhpa=0.9"), r"RMSprop cannot train .* argument 'alhpa'"),
        (any_optimizer("RMSprop", "optimizer.alpha=-1"), r"RMSprop cannot train .*: Invalid alpha value: -1"),
        (any_optimizer("RMSProp"), r"torch.optim.RMSProp: this class cannot be imported"),
        (["optimizer._target_=torch.nn.Linear"], r"torch.nn.Linear: expected a subclass of torch's Optimizer"),
        (["optimizer._target_=torch.optim.Rprop"], r"Rprop cannot train .* unexpected keyword argument"),
        (["optimizer=any", "model.gamma=1"], r"optimizer._target_ must be given"),
        (["optimizer=any", "optimizer._target_=torch.optim.RMSprop"], r"model.gamma must be given"),
        (any_optimizer("RMSprop", "optimizer.lr=0"), r"optimizer.lr=0: expected a number > 0"),
        (any_optimizer("RMSprop", "optimizer.lr=null"), r"optimizer.lr must be given, as in optimizer.lr=\$\{model"),
        (any_optimizer("RMSprop", "optimizer.lr=fast"), r"optimizer.lr=fast: expected a number\."),
        (["scheduler=cosine", "trainer.max_epochs=-1"], r"max_epochs=-1: CosineAnnealingLR needs the number of epochs"),
        (["scheduler=step", "scheduler.step_size=0"], r"StepLR cannot move γ: .* by zero"),
        (["scheduler=step", "scheduler.step_size=many"], r"StepLR cannot move γ: "),
        (["model.alpha=${nowhere}"], r"model.alpha: its reference cannot be followed \(.*nowhere' not found"),
        (["trainer.deterministic=maybe"], r"trainer.deterministic=maybe: expected true, false or warn"),
        (["scheduler=step", "scheduler.interval=batch"], r"scheduler.interval=batch: expected epoch or step"),
        (["scheduler=plateau", "scheduler.interval=step"], r"goes by validation, which comes once an epoch"),
        (["scheduler=onecycle", "trainer.max_epochs=-1"], r"max_epochs=-1: OneCycleLR needs the number of epochs"),
        (["scheduler=onecycle", "trainer.max_epochs=null"], r"max_epochs=null: OneCycleLR needs the number of epochs"),
        (["scheduler=step", "+scheduler.size=3"], r"StepLR cannot be built: .* unexpected keyword argument 'size'"),
        (["scheduler=step", "scheduler._target_=torch.optim.SGD"], r"expected a subclass of torch's LRScheduler"),
        (["scheduler=step", "scheduler._target_=nowhere.Step"], r"_target_=nowhere.Step: .* cannot be imported"),
        (["scheduler=step", "~scheduler._target_"], r"scheduler._target_ must be given"),
    ],
)  # fmt: skip
def test_what_cannot_be_built_is_refused_before_the_data_are_read(overrides, message):
    with pytest.raises(UserError, match=message):
        compose_config(*overrides)


def test_a_file_of_the_user_names_an_optimizer_and_its_arguments(tmp_path):
    (tmp_path / "optimizer").mkdir()
    (tmp_path / "optimizer" / "rmsprop.yaml").write_text(
        "# @package _global_\n"
        "optimizer: {_target_: torch.optim.RMSprop, lr: '${model.gamma}', alpha: 0.9, momentum: 0.5}\n"
        "model: {gamma: 0.003}\n"
    )
    compose_config()  # registers the schemas
    with initialize_config_dir(str(CONF), version_base="1.3"):
        overrides = ["optimizer=rmsprop", f"hydra.searchpath=[file://{tmp_path}]"]
        config = typed_config(compose("train", overrides=overrides))
    check_config(config)
    expected = {"_target_": "torch.optim.RMSprop", "lr": 0.003, "alpha": 0.9, "momentum": 0.5}
    assert plain_config(config)["optimizer"] == expected
    module = SafeModule(config, word_vectors(), word_vectors())
    assert module.hparams["optimizer"] == expected  # a resumed run is compared with it
    fit(module, epochs=1)
    optimizer = module.trainer.optimizers[0]
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert (optimizer.param_groups[0]["alpha"], optimizer.param_groups[0]["momentum"]) == (0.9, 0.5)


# ── schedules ─────────────────────────────────────────────────────────────────────────────────────────────────────────

EPOCHS = 4
SCHEDULES = {  # overrides, and PyTorch's scheduler by hand
    "onecycle": (
        ["scheduler=onecycle"],
        lambda o: lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=EPOCHS * 3, cycle_momentum=False),
    ),
    "warmup": (
        ["scheduler=warmup", "scheduler.total_iters=5"],
        lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=5),
    ),
    "step": (
        ["scheduler=step", "scheduler.step_size=4", "scheduler.interval=step"],
        lambda o: lr_scheduler.StepLR(o, 4, gamma=0.5),
    ),
    "joined": (
        [
            "scheduler=cosine", "~scheduler.T_max", "~scheduler.eta_min", "scheduler.interval=step",
            "scheduler._target_=torch.optim.lr_scheduler.SequentialLR", "+scheduler.milestones=[4]",
            "+scheduler.schedulers=[{_target_: torch.optim.lr_scheduler.LinearLR, start_factor: 0.1, total_iters: 4}, "
            "{_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: 8}]",
        ],
        lambda o: lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=4), lr_scheduler.CosineAnnealingLR(o, T_max=8)],
            milestones=[4],
        ),
    ),
    "joined cycle": (
        [
            "scheduler=cosine", "~scheduler.T_max", "~scheduler.eta_min", "scheduler.interval=step",
            "scheduler._target_=torch.optim.lr_scheduler.SequentialLR", "+scheduler.milestones=[4]",
            "+scheduler.schedulers=[{_target_: torch.optim.lr_scheduler.ConstantLR, total_iters: 4}, "
            "{_target_: torch.optim.lr_scheduler.OneCycleLR, max_lr: 0.1, epochs: 3, cycle_momentum: false}]",
        ],
        lambda o: lr_scheduler.SequentialLR(
            o,
            [
                lr_scheduler.ConstantLR(o, total_iters=4),
                lr_scheduler.OneCycleLR(o, 0.1, total_steps=9, cycle_momentum=False),
            ],
            milestones=[4],
        ),
    ),
}  # fmt: skip


def gammas_by_hand(build, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler, gammas = build(optimizer), []
    for _ in range(steps):
        gammas.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return gammas


@pytest.mark.parametrize(
    ("name", "update"),
    [*((name, "closed_form") for name in SCHEDULES), ("onecycle", "algorithm1"), ("onecycle", "autograd")],
)
def test_a_schedule_by_steps_moves_gamma_after_each_mini_batch(name, update):
    overrides, build = SCHEDULES[name]
    module = draw_module(*overrides, "model.gamma=0.1", f"trainer.max_epochs={EPOCHS}", f"model.update={update}")
    steps = fit(module, epochs=EPOCHS)
    expected = gammas_by_hand(build, EPOCHS * 3)
    assert steps.gammas == pytest.approx(expected, rel=1e-9)
    assert steps.logged == pytest.approx(expected[2::3], rel=1e-6)  # train/gamma: that of the epoch's last step
    assert len(set(expected)) >= 3


def test_a_cycle_by_epochs_is_as_long_as_the_training():
    module = draw_module("scheduler=onecycle", "scheduler.interval=epoch", "model.gamma=0.1", "trainer.max_epochs=5")
    by_hand = gammas_by_hand(lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=5, cycle_momentum=False), 5)
    assert fit(module, epochs=5).gammas == pytest.approx([gamma for gamma in by_hand for _ in range(3)], rel=1e-9)


def test_a_cycle_counts_the_batches_that_a_limit_leaves():
    module = draw_module("scheduler=onecycle", "model.gamma=0.1", "trainer.max_epochs=4")
    by_hand = gammas_by_hand(lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=8, cycle_momentum=False), 8)
    assert fit(module, epochs=4, limit_train_batches=2).gammas == pytest.approx(by_hand, rel=1e-9)


ARGUMENTS = {
    "LambdaLR": {"lr_lambda": {"_target_": "math.exp", "_partial_": True}},
    "MultiplicativeLR": {"lr_lambda": {"_target_": "math.cos", "_partial_": True}},
    "StepLR": {"step_size": 2},
    "MultiStepLR": {"milestones": [1, 2]},
    "ExponentialLR": {"gamma": 0.9},
    "SequentialLR": {
        "schedulers": [{"_target_": "torch.optim.lr_scheduler.ConstantLR"}] * 2, "milestones": [1],
    },
    "ChainedScheduler": {"schedulers": [{"_target_": "torch.optim.lr_scheduler.ConstantLR"}] * 2},
    "CosineAnnealingLR": {"T_max": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "OneCycleLR": {"max_lr": 0.1, "epochs": 3},
}  # fmt: skip


@pytest.mark.parametrize("name", [name for name in lr_scheduler.__all__ if name != "LRScheduler"])
def test_every_scheduler_of_pytorch_is_built_and_its_state_is_read_without_unpickling(name):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    settings = {"_target_": f"torch.optim.lr_scheduler.{name}", **ARGUMENTS.get(name, {})}
    scheduler = build_scheduler(settings, optimizer, lambda: 2)
    optimizer.step()
    scheduler.step(*([0.5] if name == "ReduceLROnPlateau" else []))
    stored = io.BytesIO()
    torch.save([scheduler.state_dict(), optimizer.state_dict()], stored)
    stored.seek(0)
    state, _ = torch.load(stored, weights_only=True)
    other = build_scheduler(settings, torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9), lambda: 2)
    other.load_state_dict(state)
    assert other.get_last_lr() == scheduler.get_last_lr()
