"""The registered captioners, and the attributes that other code reads."""

from dataclasses import asdict, dataclass

import numpy as np
import pytest
import torch
from omegaconf import MISSING

from safe_exp.config import CONF, CaptionerConfig
from safe_exp.data.artifacts import Artifacts
from safe_exp.data.captioners import Captioner, build_image_captioner, captioner_from_plain, captioners
from safe_exp.data.codebook import fit_codebook
from safe_exp.data.text import build_tokenizer
from safe_exp.system.errors import UserError
from tests.made import compose_config

OPTIONS = sorted(path.stem for path in (CONF / "captioner").glob("*.yaml"))


def test_each_option_of_the_command_line_is_a_captioner():
    assert captioners.names() == OPTIONS


@pytest.mark.parametrize("name", OPTIONS)
def test_the_config_of_an_option_is_its_captioner_s_and_comes_back_from_plain_values(name):
    needed = ["captioner._target_=module.name"] if name == "patches" else []
    config = compose_config(f"captioner={name}", *needed).captioner
    assert type(config) is captioners[name].config
    assert captioner_from_plain(asdict(config)) == config


@pytest.mark.parametrize(
    ("name", "caption_file", "grids"), [("file", "caption.txt", []), ("visual_words", None, [4, 2]), ("blip", None, [])]
)
def test_a_captioner_says_where_its_sentence_lies_and_which_patches_its_words_name(name, caption_file, grids):
    config = compose_config(f"captioner={name}").captioner
    assert config.caption_file == caption_file
    assert list(config.grids) == grids
    assert (captioners[name].build is None) == (caption_file is not None)


def test_a_sentence_beside_the_article_needs_nobody_to_look_at_the_picture():
    assert build_image_captioner(compose_config("captioner=file").captioner) is None


def test_an_unknown_captioner_is_refused_with_those_that_there_are():
    with pytest.raises(UserError, match=r"captioner=unheard_of: expected one of .*\bblip,.* file,.* visual_words\b"):
        captioner_from_plain({"name": "unheard_of"})


@dataclass
class HalvesConfig(CaptionerConfig):
    words: int = MISSING
    sample_patches: int = MISSING
    n_init: int = MISSING
    batch_size: int = MISSING


def test_any_captioner_that_describes_patches_gets_a_codebook_that_is_stored_and_read(tmp_path, monkeypatch):
    monkeypatch.setattr(captioners, "_entries", dict(captioners._entries))
    captioners.add(Captioner("halves", HalvesConfig, describes_patches=True))
    config = HalvesConfig("halves", words=2, sample_patches=100, n_init=1, batch_size=8)
    descriptors = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    codebook = fit_codebook(descriptors, np.arange(6), config, seed=5)
    assert codebook.settings == {"words": 2, "sample_patches": 100, "n_init": 1, "seed": 5}
    manifest = {"settings": {"captioner": asdict(config)}}
    vectors = torch.zeros(3, 4)
    Artifacts(build_tokenizer(["a"]), vectors, torch.zeros(3, 3), codebook, manifest).save(tmp_path)
    assert np.array_equal(Artifacts.load(tmp_path).codebook.centroids, codebook.centroids)
