"""Made-up word indices and vectors, for tests that need batches but no articles."""

import torch
from hydra import compose, initialize_config_dir
from torch.utils.data import DataLoader

from safe_exp.cli.resolvers import register_resolvers
from safe_exp.cli.schemas import register_schemas
from safe_exp.config import CONF, TrainConfig, typed_config
from safe_exp.data.batch import NewsBatch
from safe_exp.training.checks import check_config
from safe_exp.training.module import SafeModule

VOCABULARY = 50


def compose_config(*overrides: str) -> TrainConfig:
    """Compose the typed config that a command line with these overrides gives."""
    register_schemas()
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = typed_config(compose("train", overrides=list(overrides)))
    check_config(config)
    return config


def draw_batch(size=16, seed=0, length=12, visual_length=6) -> NewsBatch:
    """Draw articles whose words come from one half of the vocabulary or the other, by class."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(size) % 2
    half = VOCABULARY // 2
    low = (1 + label * (half - 1))[:, None]
    text = torch.randint(0, half, (size, length), generator=generator) + low
    visual = torch.randint(0, half, (size, visual_length), generator=generator) + 1
    text_lengths = torch.randint(5, length + 1, (size,), generator=generator)
    visual_lengths = torch.randint(4, visual_length + 1, (size,), generator=generator)
    text[torch.arange(length) >= text_lengths[:, None]] = 0
    visual[torch.arange(visual_length) >= visual_lengths[:, None]] = 0
    title_lengths = torch.randint(0, 5, (size,), generator=generator)
    return NewsBatch(text, visual, text_lengths, visual_lengths, label, torch.arange(size), title_lengths)


def word_vectors(dim=8, seed=0) -> torch.Tensor:
    vectors = torch.randn(VOCABULARY + 1, dim, generator=torch.Generator().manual_seed(seed))
    vectors[0] = 0
    return vectors


def loader(*batches: NewsBatch) -> DataLoader:
    return DataLoader(list(batches), batch_size=None)


def draw_module(*overrides: str, seed=0) -> SafeModule:
    """Build a small module as the command line would."""
    config = compose_config("model.num_filters=4", "model.feature_dim=6", *overrides)
    torch.manual_seed(seed)
    vectors = word_vectors()
    return SafeModule(config, vectors, vectors)
