"""The parameters of all runs of a stack, and their optimiser: steps, scores of a split, and copies of single runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor

from safe_exp.config import TrainConfig
from safe_exp.data.batch import NewsBatch
from safe_exp.equations import DropoutMasks, SafeOutput
from safe_exp.equations.safe import SafeWeights, map_tensors, name_gradients
from safe_exp.network import SafeNetwork
from safe_exp.sweep.stacked.closed_form import Share, stacked_forward, stacked_step
from safe_exp.sweep.stacked.epoch_sums import StackSums
from safe_exp.sweep.stacked.scores import ScoredRuns
from safe_exp.sweep.stacked.shares import form_shares
from safe_exp.training.dropout import Dropout
from safe_exp.training.epoch_sums import find_parts
from safe_exp.training.module import SafeModule
from safe_exp.training.optimizers import build_optimizer, build_scheduler, optimizer_settings

MAX_FILTER_SCORES = 1 << 23  # of some runs, in memory at once when a split is scored: 32 MB in float32


class StackedModel:
    """R runs of one network, trained together.

    Each parameter is one tensor (R, …). Adjacent runs with the same γ are one parameter group of the optimiser. The
    optimiser updates each number by itself, so that a run's arithmetic is the same in a stack and alone.

    Args:
        configs: of the runs, sorted by seed and γ.
        modules: the module of each run, as its job would build it; runs with the same seed may share one. All runs use
            the first one's tables of word vectors.
    """

    def __init__(self, configs: Sequence[TrainConfig], modules: Sequence[SafeModule]) -> None:
        self.module = modules[0]
        self.network = cast(SafeNetwork, modules[0].network)  # as every stackable variant builds
        self.clip = (configs[0].trainer.gradient_clip_val, configs[0].trainer.gradient_clip_algorithm or "norm")
        self.loss: dict[str, Any] = {
            "similarity_loss": configs[0].model.similarity_loss.value,
            "label_smoothing": configs[0].model.label_smoothing,
        }
        names = [name for name, _ in self.network.named_parameters()]
        states = [dict(module.network.named_parameters()) for module in modules]
        self.parameters = {name: torch.stack([state[name].detach() for state in states]) for name in names}
        self.parts = find_parts(names)
        self.sums = StackSums(self.parts)  # of the epoch
        like = next(iter(self.parameters.values()))
        self.alpha, self.beta = (
            like.new_tensor([getattr(config.model, name) for config in configs]) for name in ("alpha", "beta")
        )  # (R,)
        self.seeds = [config.seed for config in configs]
        self.num_filters = configs[0].model.num_filters
        self.dropout = {seed: Dropout(configs[0].model, self.network, seed) for seed in self.seeds}
        sizes = [(gamma, len(list(runs))) for gamma, runs in groupby(configs, key=lambda config: config.optimizer.lr)]
        self.sizes = [size for _, size in sizes]  # number of runs in each parameter group
        groups = [{"params": [], "lr": gamma} for gamma, _ in sizes]
        self.optimizer = build_optimizer(optimizer_settings(configs[0]), groups)
        self._attach()
        self.scheduler = None
        if configs[0].scheduler is not None:
            self.scheduler = build_scheduler(configs[0].scheduler, self.optimizer, lambda: 1)

    def __len__(self) -> int:
        return len(self.seeds)

    # ── one step ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin_epoch(self, epoch: int) -> None:
        """Begin an epoch, counted from 0: the runs of a seed draw the dropout masks that each would draw alone."""
        for seed in dict.fromkeys(self.seeds):
            self.dropout[seed].begin_epoch(epoch)
        self.sums = StackSums(self.parts)

    def step(self, batches: Sequence[NewsBatch]) -> None:
        """Update every run once, and add the step to `sums`.

        Args:
            batches: the mini-batches of each share, those of its S seeds one after the other, of S·B articles.
        """
        shares = []
        for (runs, seeds), batch in zip(self.shares, batches, strict=True):
            masks = self._draw_masks(seeds, len(batch.label) // len(seeds))
            shares.append(Share(runs, self.module.embed(batch), batch.label, batch.weight, masks, len(seeds)))
        output, losses, d_weights = stacked_step(self.weights(), shares, alpha=self.alpha, beta=self.beta, **self.loss)
        gradients = name_gradients(d_weights)
        norms = {name: _run_norms(gradients[name]) for name in self.parameters}  # (R,) each
        self._clip(gradients, norms)
        for name, parts in self._leaves.items():
            for leaf, gradient in zip(parts, gradients[name].split(self.sizes), strict=True):
                leaf.grad = gradient
        self.optimizer.step()
        label = torch.cat([share.for_runs(share.label) for share in shares])  # (R, B)
        self.sums.add(losses, output.similarity, label, list(norms.values()))

    def weights(self) -> SafeWeights:
        """Return all parameters, (R, …) each, in the structure that the equations read."""
        return self._weights

    def gammas(self) -> list[float]:
        """List γ of each run, after schedulers."""
        groups = zip(self.optimizer.param_groups, self.sizes, strict=True)
        return [group["lr"] for group, size in groups for _ in range(size)]

    def _draw_masks(self, seeds: Sequence[int], articles: int) -> DropoutMasks | None:
        """Draw the masks of a share, for `articles` of each seed; None without dropout."""
        drawn = [self.dropout[seed].draw(articles).get("masks") for seed in seeds]
        if drawn[0] is None:
            return None
        pooled = tuple(torch.cat(of_seeds) for of_seeds in zip(*(masks.pooled for masks in drawn), strict=True))
        features = None if drawn[0].features is None else torch.cat([masks.features for masks in drawn])
        return DropoutMasks(pooled, features)

    def _clip(self, gradients: dict[str, Tensor], norms: Mapping[str, Tensor]) -> None:
        """Clip the gradients (R, …) of each run in `gradients`, as torch.nn.utils clips those of one network.

        Args:
            norms: of the gradients, (R,) each.
        """
        limit, algorithm = self.clip
        if limit is None:
            return
        total = torch.stack(list(norms.values())).norm(dim=0)  # (R,)
        factor = (limit / (total + 1e-6)).clamp(max=1.0)
        for name, gradient in gradients.items():
            if algorithm == "value":
                gradients[name] = gradient.clamp(-limit, limit)
            else:
                gradients[name] = gradient * factor.view(-1, *[1] * (gradient.dim() - 1))

    # ── scores of a split ─────────────────────────────────────────────────────────────────────────────────────────────

    def score(self, weights: SafeWeights, batches: Iterable[NewsBatch], runs: Sequence[int]) -> ScoredRuns:
        """Score a split of N articles in several runs at once.

        Args:
            weights: parameters of the runs, (R, …) each.
            batches: of the split.
            runs: positions in `weights` of the runs whose scores are returned.
        Returns:
            The scores of `runs`, on the processor, in the order of the articles.
        """
        kept = map_tensors(lambda value: value[list(runs)], weights)
        parts: dict[str, list[Tensor]] = {"logits": [], "probability": [], "similarity": []}
        indices, labels = [], []
        for batch in batches:
            indices.append(batch.index)
            labels.append(batch.label)
            outputs = self._score_batch(kept, len(runs), batch)
            for name, found in parts.items():
                of_runs = [getattr(output, name) for output in outputs]
                found.append(None if of_runs[0] is None else torch.cat(of_runs))
        index = torch.cat(indices).cpu()
        order = index.argsort()
        label = torch.cat(labels).cpu()[order]
        joined = {n: None if v[0] is None else torch.cat(v, dim=1).cpu()[:, order] for n, v in parts.items()}
        logits = joined.pop("logits").float()
        return ScoredRuns(index[order], label, logits, **joined)

    def _score_batch(self, weights: SafeWeights, runs: int, batch: NewsBatch) -> list[SafeOutput]:
        """Compute the outputs of a batch in the runs of `weights`, a part of them at a time."""
        sentences = self.module.embed(batch)
        longest = max(batch.text_tokens.shape[1], batch.visual_tokens.shape[1])
        at_once = max(1, MAX_FILTER_SCORES // (len(batch.label) * longest * self.num_filters))
        outputs = []
        for start in range(0, runs, at_once):
            part = slice(start, min(start + at_once, runs))
            of_part = map_tensors(lambda value, part=part: value[part], weights)
            share = Share(slice(0, part.stop - start), sentences, batch.label)
            outputs.append(stacked_forward(of_part, [share])[0])
        return outputs

    # ── copies ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def snapshot(self) -> Snapshot:
        """Copy the state of all runs."""
        return Snapshot(self)

    def restructure(self, parameters: Mapping[str, Tensor]) -> SafeWeights:
        """Arrange tensors of any shape, given by parameter name, in the structure that the equations read."""
        names = {id(parameter): name for name, parameter in self.network.named_parameters()}
        return map_tensors(lambda parameter: parameters[names[id(parameter)]], self.network.weights())

    def keep(self, runs: Sequence[int]) -> None:
        """Keep the parameters and the optimiser's state of these runs alone.

        Args:
            runs: positions, ascending.
        """
        kept = set(runs)
        sizes, start = [], 0
        for group, size in zip(list(self.optimizer.param_groups), self.sizes, strict=True):
            rows = [run - start for run in runs if start <= run < start + size]
            sizes.append(len(rows))
            for leaf in group["params"]:
                for name, value in self.optimizer.state.get(leaf, {}).items():
                    if value is not None and value.dim():  # not the count of steps, which is one number for the group
                        self.optimizer.state[leaf][name] = value[rows].clone()
            start += size
        self.parameters = {name: value[list(runs)].clone() for name, value in self.parameters.items()}
        self.alpha, self.beta = self.alpha[list(runs)], self.beta[list(runs)]
        self.seeds = [seed for run, seed in enumerate(self.seeds) if run in kept]
        empty = [i for i, size in enumerate(sizes) if not size]
        for i in reversed(empty):
            del self.optimizer.param_groups[i]
            for value in vars(self.scheduler).values() if self.scheduler is not None else ():
                if isinstance(value, list) and len(value) == len(sizes):  # such as base_lrs, one number for each group
                    del value[i]
            del sizes[i]
        self.sizes = sizes
        self._attach()

    def _attach(self) -> None:
        """Put each parameter group's rows of every parameter into it, and move the optimiser's state to them."""
        self._weights = self.restructure(self.parameters)
        self.shares = form_shares(self.seeds, self.num_filters)
        self._leaves = {name: value.split(self.sizes) for name, value in self.parameters.items()}
        state = self.optimizer.state
        for number, group in enumerate(self.optimizer.param_groups):
            remembered = [state.pop(leaf, None) for leaf in group["params"]]
            group["params"] = [parts[number] for parts in self._leaves.values()]
            for leaf, values in zip(group["params"], remembered, strict=False):
                if values is not None:
                    state[leaf] = values


class Snapshot:
    """A copy of the parameters of all runs of a stack, with the state of the optimiser and the scheduler."""

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

    def copy_weights(self, run: int) -> dict[str, Tensor]:
        """Copy the parameters of a run, by name, each in the shape that it has in one network."""
        return {name: value[run].clone() for name, value in self.parameters.items()}

    def optimizer_state(self, run: int) -> dict[str, Any]:
        """Build the state dict that an optimiser of this run alone would have."""
        number, row = self._place(run)
        states = {
            i: {k: v if v is None else v[row].clone() if v.dim() else v.clone() for k, v in state.items()}
            for i, state in enumerate(self.states[number])
            if state
        }
        return {"state": states, "param_groups": [{**self.groups[number], "params": list(range(len(self.parameters)))}]}

    def scheduler_states(self, run: int) -> list[dict[str, Any]]:
        """Build the state dict that a scheduler of this run alone would have; an empty list without a scheduler."""
        if self.scheduler is None:
            return []
        number, groups = self._place(run)[0], len(self.groups)
        per_group = {k for k, v in self.scheduler.items() if isinstance(v, list) and len(v) == groups}
        return [{k: [v[number]] if k in per_group else v for k, v in self.scheduler.items()}]

    def _place(self, run: int) -> tuple[int, int]:
        """Find the parameter group of a run, and the run's row in it.

        Raises:
            IndexError: there is no such run.
        """
        for number, size in enumerate(self.sizes):
            if run < size:
                return number, run
            run -= size
        raise IndexError(run)


def _run_norms(gradient: Tensor) -> Tensor:
    """Compute the norm of a gradient (R, …) in every run, (R,)."""
    return torch.linalg.vector_norm(gradient.flatten(1), dim=1)
