"""The parameters of all runs of a stack, with their optimiser: one step, one look at a split, a copy of one run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import hydra.utils
import torch
from torch import Tensor

from safe_exp.config import TrainConfig, plain_config
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import SafeLosses, SafeOutput
from safe_exp.equations.safe import SafeWeights, map_tensors, name_gradients
from safe_exp.scoring.scores import ScoredSplit
from safe_exp.sweep.stacked.closed_form import Share, stacked_forward, stacked_step
from safe_exp.training.epoch_sums import EpochTotals, find_parts
from safe_exp.training.module import SafeModule


class StackedModel:
    """R runs of one network, moved together.

    Each parameter is one tensor (R, …). Runs of the same γ that stand side by side are one parameter group of the
    optimiser, which moves each number by itself: stacked or alone, it is the same arithmetic.

    Args:
        configs: of the runs, sorted by seed and γ.
        modules: the module of each run as its job would have built it; runs of one seed may share one. The first one's
            tables of word vectors serve all.
    """

    def __init__(self, configs: Sequence[TrainConfig], modules: Sequence[SafeModule]) -> None:
        self.module = modules[0]
        self.clip = (configs[0].trainer.gradient_clip_val, configs[0].trainer.gradient_clip_algorithm or "norm")
        self.similarity_loss = configs[0].model.similarity_loss.value
        names = [name for name, _ in self.module.network.named_parameters()]
        states = [dict(module.network.named_parameters()) for module in modules]
        self.parameters = {name: torch.stack([state[name].detach() for state in states]) for name in names}
        self.parts = find_parts(names)
        like = next(iter(self.parameters.values()))
        self.alpha, self.beta = (
            like.new_tensor([getattr(config.model, name) for config in configs]) for name in ("alpha", "beta")
        )  # (R,)
        self.seeds = [config.seed for config in configs]
        sizes = [(gamma, len(list(runs))) for gamma, runs in groupby(configs, key=lambda config: config.optimizer.lr)]
        self.sizes = [size for _, size in sizes]  # of the parameter groups, in runs
        settings = plain_config(configs[0].optimizer)
        target = hydra.utils.get_class(settings.pop("_target_"))
        if self.clip[0] is not None:
            settings.pop("fused", None)  # as SafeModule does
        self.optimizer = target([{"params": [], "lr": gamma} for gamma, _ in sizes], **settings)
        self._attach()
        self.scheduler = None
        if configs[0].scheduler is not None:
            self.scheduler = hydra.utils.instantiate(configs[0].scheduler, optimizer=self.optimizer)

    def __len__(self) -> int:
        return len(self.seeds)

    # ── one step ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self, batches: Mapping[int, NewsBatch]) -> Tensor:
        """Update every run once, each on its seed's mini-batch; returns the step's `EpochTotals`, flat, (R, 8 + P)."""
        shares = [
            Share(runs, self.module.embed(batches[seed]), batches[seed].label) for seed, runs in self._seed_runs()
        ]
        weights = {"alpha": self.alpha, "beta": self.beta, "similarity_loss": self.similarity_loss}
        output, losses, gradients = stacked_step(self.weights(), shares, **weights)
        gradients = name_gradients(gradients)
        norms = self._norms(gradients)
        self._clip(gradients)
        for name, parts in self._leaves.items():
            for leaf, gradient in zip(parts, gradients[name].split(self.sizes), strict=True):
                leaf.grad = gradient
        self.optimizer.step()
        labels = [share.label.expand(share.runs.stop - share.runs.start, -1) for share in shares]
        return _totals(output, losses, torch.cat(labels), norms).flatten()

    def weights(self) -> SafeWeights:
        """All parameters in the structure that the equations read, (R, …) each."""
        return self._weights

    def gammas(self) -> list[float]:
        """γ of each run as it is now, after schedulers."""
        groups = zip(self.optimizer.param_groups, self.sizes, strict=True)
        return [group["lr"] for group, size in groups for _ in range(size)]

    def _seed_runs(self) -> list[tuple[int, slice]]:
        """Each seed with its runs."""
        found, start = [], 0
        for seed, runs in groupby(self.seeds):
            count = len(list(runs))
            found.append((seed, slice(start, start + count)))
            start += count
        return found

    def _norms(self, gradients: Mapping[str, Tensor]) -> Tensor:
        """The gradient's norm in each part of the network, of every run, (R, number of parts)."""
        norms = torch.stack([_norm_of(gradients[name]) for name in self.parameters]).float()  # (P, R)
        return torch.stack([norms[places].norm(dim=0) for places in self.parts.values()], dim=1)

    def _clip(self, gradients: dict[str, Tensor]) -> None:
        """Clip each run's gradient by itself, as torch.nn.utils.clip_grad_norm_ and clip_grad_value_ do."""
        limit, algorithm = self.clip
        if limit is None:
            return
        total = torch.stack([_norm_of(gradient) for gradient in gradients.values()]).norm(dim=0)  # (R,)
        factor = (limit / (total + 1e-6)).clamp(max=1.0)
        for name, gradient in gradients.items():
            if algorithm == "value":
                gradients[name] = gradient.clamp(-limit, limit)
            else:
                gradients[name] = gradient * factor.view(-1, *[1] * (gradient.dim() - 1))

    # ── looking at a split ────────────────────────────────────────────────────────────────────────────────────────────

    def score(self, weights: SafeWeights, batches: Sequence[NewsBatch], runs: Sequence[int]) -> list[ScoredSplit]:
        """Score a split for each of `runs` out of those in `weights`, for all of them at once."""
        count = len(next(iter(name_gradients(weights).values())))
        parts: dict[str, list[Tensor]] = {"logits": [], "probability": [], "similarity": []}
        for batch in batches:
            output, _ = stacked_forward(weights, [Share(slice(0, count), self.module.embed(batch), batch.label)])
            for name, found in parts.items():
                found.append(getattr(output, name))
        index = torch.cat([batch.index for batch in batches]).cpu()
        order = index.argsort()
        label = torch.cat([batch.label for batch in batches]).cpu()[order]
        of_runs = {n: None if v[0] is None else torch.cat(v, dim=1).cpu()[:, order] for n, v in parts.items()}
        logits, probability, similarity = of_runs["logits"].float(), of_runs["probability"], of_runs["similarity"]
        return [
            ScoredSplit(
                index[order], label, logits[run], probability[run], None if similarity is None else similarity[run]
            )
            for run in runs
        ]

    # ── copies ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Snapshot:
        """The state of all runs, as it is now."""
        return Snapshot(self)

    def restructure(self, parameters: Mapping[str, Tensor]) -> SafeWeights:
        """Tensors by their parameters' names, in the structure that the equations read."""
        names = {id(parameter): name for name, parameter in self.module.network.named_parameters()}
        return map_tensors(lambda parameter: parameters[names[id(parameter)]], self.module.network.weights())

    def keep(self, runs: Sequence[int]) -> None:
        """Go on with these runs alone."""
        kept = set(runs)
        sizes, start = [], 0
        for group, size in zip(list(self.optimizer.param_groups), self.sizes, strict=True):
            rows = [run - start for run in runs if start <= run < start + size]
            sizes.append(len(rows))
            for leaf in group["params"]:
                for name, value in self.optimizer.state.get(leaf, {}).items():
                    if value is not None and value.dim():  # the count of steps is the group's
                        self.optimizer.state[leaf][name] = value[rows].clone()
            start += size
        self.parameters = {name: value[list(runs)].clone() for name, value in self.parameters.items()}
        self.alpha, self.beta = self.alpha[list(runs)], self.beta[list(runs)]
        self.seeds = [seed for run, seed in enumerate(self.seeds) if run in kept]
        empty = [i for i, size in enumerate(sizes) if not size]
        for i in reversed(empty):
            del self.optimizer.param_groups[i]
            for value in vars(self.scheduler).values() if self.scheduler is not None else ():
                if isinstance(value, list) and len(value) == len(sizes):  # base_lrs and the like: one for each group
                    del value[i]
            del sizes[i]
        self.sizes = sizes
        self._attach()

    def _attach(self) -> None:
        """Give each parameter group its runs' part of every parameter; what the optimiser remembers of them stays."""
        self._weights = self.restructure(self.parameters)
        self._leaves = {name: value.split(self.sizes) for name, value in self.parameters.items()}
        state = self.optimizer.state
        for number, group in enumerate(self.optimizer.param_groups):
            remembered = [state.pop(leaf, None) for leaf in group["params"]]
            group["params"] = [parts[number] for parts in self._leaves.values()]
            for leaf, values in zip(group["params"], remembered, strict=False):
                if values is not None:
                    state[leaf] = values


class Snapshot:
    """The parameters of all runs of a stack at one moment, and all that the optimiser and the scheduler remember."""

    def __init__(self, model: StackedModel) -> None:
        self.parameters = {name: value.clone() for name, value in model.parameters.items()}
        self.groups = [{k: v for k, v in group.items() if k != "params"} for group in model.optimizer.param_groups]
        self.states = [
            [
                {k: v if v is None else v.clone() for k, v in model.optimizer.state.get(leaf, {}).items()}
                for leaf in group["params"]
            ]
            for group in model.optimizer.param_groups
        ]
        self.sizes = list(model.sizes)
        scheduler = model.scheduler
        self.scheduler = None if scheduler is None else {**scheduler.state_dict()}
        if scheduler is not None:
            self.scheduler = {k: list(v) if isinstance(v, list) else v for k, v in self.scheduler.items()}

    def weights_of(self, run: int) -> dict[str, Tensor]:
        return {name: value[run].clone() for name, value in self.parameters.items()}

    def optimizer_of(self, run: int) -> dict[str, Any]:
        """The state dict that this run's own optimiser would have."""
        number, row = self._place(run)
        states = {
            i: {k: v if v is None else v[row].clone() if v.dim() else v.clone() for k, v in state.items()}
            for i, state in enumerate(self.states[number])
            if state
        }
        return {"state": states, "param_groups": [{**self.groups[number], "params": list(range(len(self.parameters)))}]}

    def schedulers_of(self, run: int) -> list[dict[str, Any]]:
        """The state dict that this run's own scheduler would have, if it has one."""
        if self.scheduler is None:
            return []
        number, groups = self._place(run)[0], len(self.groups)
        of_group = {k for k, v in self.scheduler.items() if isinstance(v, list) and len(v) == groups}
        return [{k: [v[number]] if k in of_group else v for k, v in self.scheduler.items()}]

    def _place(self, run: int) -> tuple[int, int]:
        """The parameter group of a run, and the run's row in it."""
        for number, size in enumerate(self.sizes):
            if run < size:
                return number, run
            run -= size
        raise IndexError(run)


def _norm_of(gradient: Tensor) -> Tensor:
    """The norm in every run, (R,)."""
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)


def _totals(output: SafeOutput, losses: SafeLosses, label: Tensor, norms: Tensor) -> EpochTotals:
    """The sums of one step, for every run, (R,) each; label (R, B), norms (R, P)."""
    runs, count = label.shape
    similarity = torch.zeros_like(output.probability) if output.similarity is None else output.similarity
    fake = label.to(similarity.dtype)  # (R, B)
    articles, steps = torch.tensor([count, 1.0], device=norms.device).expand(runs, 2).unbind(dim=1)
    return EpochTotals(
        *(value.float() * count for value in losses),
        similarity_real=(similarity * (1 - fake)).sum(dim=1).float(),
        similarity_fake=(similarity * fake).sum(dim=1).float(),
        fake=fake.sum(dim=1).float(),
        articles=articles,
        steps=steps,
        gradient_norms=norms,
    )
