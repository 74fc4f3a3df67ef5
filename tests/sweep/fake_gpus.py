"""python -m tests.sweep.fake_gpus: safe_exp.train with two GPUs that are only names; jobs train on the CPU.

Processes that a launcher starts import this module too. Each job prints its devices. FATAL_SEED=n kills that job.
"""

import os
import signal
import sys

import hydra
import torch
from omegaconf import DictConfig

import safe_exp.train
from safe_exp.cli.run_command import run_command
from safe_exp.config import CONF
from safe_exp.sweep.command_line import expand_resume_sweep


class Gpu:
    def __init__(self, number):
        self.uuid = f"fake-{number}-{os.environ['FAKE_GPUS']}"


torch.cuda.device_count = lambda: 2
torch.cuda.get_device_properties = Gpu


def choose_the_cpu(config, leased) -> torch.device:
    """Stand in for the choice of a stack's device."""
    sys.stderr.write(f"A stack on {config.trainer.accelerator} {leased}\n")  # in one piece
    return torch.device("cpu")


if __name__ == "__mp_main__":  # in the processes of a launcher; the sweep's own need not wait for Lightning
    from safe_exp.sweep.stacked import training

    training.choose_device = choose_the_cpu


def train_on_the_cpu(seed: int) -> None:
    """Let Lightning build a Trainer for the CPU, whatever it is asked for."""
    import pytorch_lightning as pl

    build = pl.Trainer

    def build_for_the_cpu(*, accelerator="cpu", devices=1, **rest):
        if accelerator != "cpu":
            print(f"seed {seed}, {accelerator} {devices}, {torch.get_num_threads()} threads", flush=True)
        if str(seed) == os.environ.get("FATAL_SEED"):
            os.kill(os.getpid(), signal.SIGKILL)
        pl.Trainer = build
        return build(accelerator="cpu", devices=1, **rest)

    pl.Trainer = build_for_the_cpu


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="train")
def main(composed: DictConfig) -> float:
    train_on_the_cpu(composed.seed)
    return safe_exp.train.main.__wrapped__(composed)


if __name__ == "__main__":
    sys.argv[1:] = expand_resume_sweep(sys.argv[1:])
    run_command(main, "train", "", [])
