"""Tiny models with random weights, saved as transformers and Model2Vec save theirs."""

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from safe_exp.config import TransformerVectorsConfig

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = ["word", "number", "fake", "real", "title", "boat", "red", "a", "text", "of", "/", ".", "!", "read", "##ing"]
POSITIONS, DIM, LAYERS = 12, 8, 2


def make_tokenizer() -> Tokenizer:
    """Make a WordPiece tokenizer that truncates and pads by itself, as sentence encoders do."""
    pieces = [*SPECIAL, *WORDS, *LETTERS.replace("a", ""), *(f"##{letter}" for letter in LETTERS)]
    tokenizer = Tokenizer(WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = BertNormalizer(), BertPreTokenizer()
    special = [(name, pieces.index(name)) for name in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing("[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", special)
    tokenizer.add_special_tokens(SPECIAL)
    tokenizer.enable_truncation(6)
    tokenizer.enable_padding(length=6)
    return tokenizer


@cache
def bert() -> Path:
    """Save a BERT of two layers that reads ten tokens beside [CLS] and [SEP]."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: transformer)")
    folder = _folder("bert")
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=DIM, num_hidden_layers=LAYERS, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=POSITIONS, initializer_range=0.5,
    )  # fmt: skip
    transformers.utils.logging.disable_progress_bar()
    transformers.BertModel(config).eval().save_pretrained(folder)
    return folder


@cache
def static() -> Path:
    """Save a static model as Model2Vec does: one tensor, and a tokenizer."""
    folder = _folder("static")
    tokenizer = make_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    generator = torch.Generator().manual_seed(1)
    table = torch.randn(tokenizer.get_vocab_size(), 5, generator=generator)
    save_file({"embeddings": table}, folder / "model.safetensors")
    return folder


def vectors_config(model: Path, layer: int = 0, **changes) -> TransformerVectorsConfig:
    """Configure vectors=transformer."""
    settings = {"revision": None, "device": "cpu", "batch_size": 3, "standardise": False}
    return TransformerVectorsConfig(model=str(model), layer=layer, **(settings | changes))


def _folder(name: str) -> Path:
    home = Path(tempfile.mkdtemp(prefix=f"safe_exp-{name}-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    folder = home / name
    folder.mkdir()
    return folder
