"""Vectors of patches, by transformers' own classes on tiny models with random weights, and by callables."""

import json
import sys
from dataclasses import asdict

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from safe_exp.config import StoredCaptioner
from safe_exp.data.captioners import build_image_captioner, captioner_from_plain
from safe_exp.data.captioners.patches import lay_out
from safe_exp.system.errors import UserError
from tests.data.captioners.pictures import (
    noise,
    patches_config,
    save_vision_model,
    two_colours,
    visual_words_config,
)

PICTURES = [noise(seed, side=40) for seed in range(3)]
COLOURS = """
import numpy as np

def describe(images, side=2, shape=None):
    '''The mean colours of side x side parts of each picture.'''
    small = [np.asarray(image.resize((side, side), resample=4), np.float64) / 255 for image in images]
    found = np.stack(small)
    return found.reshape(len(images), side * side, 3) if shape is None else found.reshape(len(images), *shape)

class Describer:
    made = 0

    def __init__(self, side=2, weights=None):
        self.side = side
        Describer.made += 1

    def __call__(self, images):
        return describe(images, self.side)

def fails(images):
    raise RuntimeError("out of paint")

def nan(images):
    return np.full((len(images), 4, 2), np.nan)

number = 3
"""


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed (extra: transformer)")


@pytest.fixture(scope="module")
def saved(transformers, tmp_path_factory):
    return save_vision_model(tmp_path_factory.mktemp("vit"))


@pytest.fixture
def copied(saved, tmp_path):
    """Copy of the folder, which a test may damage."""
    folder = tmp_path / "copy"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Name of a module that Python can import, and that leaves no trace."""
    (tmp_path / "colours_of_a_test.py").write_text(COLOURS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "colours_of_a_test"
    sys.modules.pop("colours_of_a_test", None)


def captioner(**changes):
    return build_image_captioner(patches_config(**changes))


def vectors_of(found):
    return [grid.vectors for grid in found]


# A vision model.


def test_vectors_are_the_last_hidden_state_of_transformers_without_the_token_of_the_class(saved, transformers):
    found = vectors_of(captioner(model=str(saved)).describe(PICTURES))
    model = transformers.ViTModel.from_pretrained(saved).eval()
    pixels = transformers.ViTImageProcessorPil.from_pretrained(saved)(images=PICTURES, return_tensors="pt")
    with torch.no_grad():
        state = model(**pixels).last_hidden_state  # (3, 1 + 4, 8)
    assert [vectors.shape for vectors in found] == [(2, 2, 8)] * 3
    np.testing.assert_allclose(np.stack(found).reshape(3, 4, 8), state[:, 1:].numpy(), atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_a_picture_gives_the_same_vectors_alone_and_beside_others(saved):
    together, alone = captioner(model=str(saved)).describe(PICTURES), captioner(model=str(saved))
    for picture, grid in zip(PICTURES, together, strict=True):
        assert np.array_equal(alone.describe([picture])[0].vectors, grid.vectors)


def test_a_model_counts_by_its_content_and_not_by_its_name(saved, copied, tmp_path):
    settings = captioner(model=str(saved)).settings
    assert captioner(model=str(copied), batch_size=3).settings == settings
    assert captioner(model=str(save_vision_model(tmp_path / "other", seed=1))).settings != settings
    processor = json.loads((copied / "preprocessor_config.json").read_text())
    (copied / "preprocessor_config.json").write_text(json.dumps(processor | {"image_mean": [0.1, 0.1, 0.1]}))
    assert captioner(model=str(copied)).settings != settings


def config_of(**values):
    return type("Config", (), values)()


@pytest.mark.parametrize(
    ("shape", "pixels", "config", "first"),
    [
        ((1, 4, 2), (32, 32), config_of(patch_size=16), 0),  # no token before the patches
        ((1, 6, 2), (32, 32), config_of(patch_size=16), 2),  # two of them, as in DeiT
        ((1, 7, 2), (32, 48), config_of(patch_size=[16, 16]), 1),  # no square
        ((1, 4, 2), (32, 32), config_of(patch_size=4), 0),  # patches joined in steps, as in Swin
    ],
)
def test_tokens_are_laid_out_row_by_row_as_the_patches_lie(shape, pixels, config, first):
    tokens = torch.arange(float(np.prod(shape))).view(shape)
    grid = lay_out(tokens, pixels, config)
    assert grid.shape[1:3] == ((2, 3) if pixels[1] == 48 else (2, 2))
    assert torch.equal(grid.flatten(1, 2), tokens[:, first:])


def test_maps_of_a_convolutional_model_are_grids_already():
    maps = torch.randn(2, 5, 3, 4)  # (N, E, rows, columns)
    assert torch.equal(lay_out(maps, (96, 128), config_of())[1, 2, 3], maps[1, :, 2, 3])


def test_tokens_of_no_grid_are_refused():
    with pytest.raises(ValueError, match="5 tokens for 64 x 64 pixels are no grid of patches"):
        lay_out(torch.zeros(1, 5, 2), (64, 64), config_of(patch_size=16))  # an autoencoder that hides most patches


def test_the_view_is_what_the_model_sees_of_a_picture(transformers, tmp_path):
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}, do_normalize=False
    )
    folder = save_vision_model(tmp_path / "vit", processor=processor)
    across, down = np.meshgrid(np.linspace(0, 255, 128), np.linspace(0, 255, 96))
    picture = Image.fromarray(np.stack([across, down, across], axis=2).astype(np.uint8))
    view = captioner(model=str(folder)).view(picture)
    assert view.size == (76, 76)  # the shorter side is 96, of which the model sees 32 in 40
    seen = processor(images=[picture], return_tensors="np")["pixel_values"][0].transpose(1, 2, 0)  # (32, 32, 3)
    assert np.abs(np.asarray(view.resize((32, 32))) / 255 - seen).max() < 0.02


def test_the_view_of_a_resized_picture_is_the_whole(saved):
    assert captioner(model=str(saved)).view(PICTURES[0]).size == (40, 40)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), r"the folder lacks model\.safetensors.*vision model"),
        (lambda folder: (folder / "preprocessor_config.json").unlink(), r"lacks preprocessor_config\.json"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"x" * 30), r"no vision model with vectors"),
        (
            lambda folder: (folder / "config.json").write_text(
                '{"model_type": "mine", "auto_map": {"AutoModel": "code.Mine"}}'
            ),
            r"no vision model with vectors of patches can be loaded",
        ),
    ],
    ids=["no weights", "no processor", "damaged", "code of its own"],
)
def test_a_folder_that_holds_no_vision_model_is_refused(copied, damage, message):
    damage(copied)
    with pytest.raises(UserError, match=message):
        captioner(model=str(copied)).describe(PICTURES)


def test_missing_weights_are_refused_but_for_the_pooler_s(copied):
    weights = load_file(copied / "model.safetensors")
    fewer = {name: weight for name, weight in weights.items() if "pooler" not in name}
    assert len(fewer) < len(weights)
    save_file(fewer, copied / "model.safetensors", metadata={"format": "pt"})
    assert len(captioner(model=str(copied)).describe(PICTURES[:1])) == 1
    fewer.pop("layernorm.weight")
    save_file(fewer, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights of the model are missing .*layernorm\.weight"):
        captioner(model=str(copied)).describe(PICTURES)


def test_a_model_that_reads_no_pictures_is_refused(transformers, copied):
    sizes = dict(num_hidden_layers=1, hidden_size=4, num_attention_heads=1, intermediate_size=4, vocab_size=9)
    transformers.BertModel(transformers.BertConfig(**sizes)).save_pretrained(copied)
    with pytest.raises(UserError, match="no vision model with vectors of patches"):
        captioner(model=str(copied)).describe(PICTURES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, r"none of captioner\.model and captioner\._target_ is given"),
        ({"model": "a/b", "_target_": "a.b"}, r"both of captioner\.model and captioner\._target_ is given"),
        ({"model": "a/b", "revision": "main"}, r"captioner\.revision=main: expected the 40 hexadecimal digits"),
        ({"model": "a/b"}, r"a model on the hub needs captioner\.revision=COMMIT"),
        ({"model": "nowhere"}, r"there is no such folder, and an id on the Hugging Face hub looks like"),
        ({"_target_": "a.b", "device": "tpu"}, r"captioner\.device=tpu: expected auto"),
        ({"_target_": "a.b", "batch_size": 0}, r"captioner\.batch_size=0"),
        ({"_target_": "a.b", "arguments": 3}, r"captioner\.arguments=3: expected names with values"),
    ],
)
def test_settings_that_cannot_be_right_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        captioner(**changes)


# A callable.


def test_a_function_gives_vectors_of_a_square_grid(module):
    [grid] = captioner(_target_=f"{module}.describe").describe([two_colours("red", "blue")])
    assert grid.vectors.dtype == np.float32
    assert len(grid) == 4
    assert grid.sequence.tolist() == [[1, 0, 0], [0, 0, 1]] * 2
    assert grid.vectors.tolist() == [[[1, 0, 0], [0, 0, 1]]] * 2


def test_a_callable_may_lay_out_its_grid_itself(module):
    found = captioner(_target_=f"{module}.describe", arguments={"shape": [1, 4, 3]}).describe(PICTURES)
    assert [(grid.rows, grid.columns, len(grid)) for grid in found] == [(1, 4, 4)] * 3


def test_a_class_is_made_once_with_its_arguments_when_the_first_picture_comes(module):
    describer = captioner(_target_=f"{module}.Describer", arguments={"side": 3})
    assert sys.modules[module].Describer.made == 0
    assert describer.describe(PICTURES)[0].vectors.shape == (3, 3, 3)
    describer.describe(PICTURES)
    assert sys.modules[module].Describer.made == 1


def test_a_callable_counts_by_its_source_its_arguments_and_their_files(module, tmp_path):
    def settings(**arguments):
        return captioner(_target_=f"{module}.Describer", arguments=arguments).settings

    (tmp_path / "weights").write_bytes(b"1")
    before = settings(), settings(weights=str(tmp_path / "weights"))
    assert before[0] != before[1]
    assert before[1] != settings(weights=str(tmp_path / "elsewhere"))
    assert before[0] != settings(prompt="a text that is too long for a path, " * 200)
    (tmp_path / "weights").write_bytes(b"22")
    assert settings(weights=str(tmp_path / "weights")) not in before
    (tmp_path / f"{module}.py").write_text(COLOURS + "\nmore = 1\n")
    assert settings() not in before


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("nothing", {}, r"nothing: there is no such callable .*my_module\.describe"),
        ("number", {}, r"number is a int, which cannot be called"),
        ("fails", {}, r"failed for 3 pictures \(RuntimeError: out of paint\)"),
        ("nan", {}, r"returned numbers that are not finite"),
        ("describe", {"shape": [2, 6]}, r"returned an array \(3, 2, 6\) for 3 pictures\. Expected \(3, P, E\)"),
        ("describe", {"shape": [12]}, r"returned an array \(3, 12\)"),
    ],
)
def test_a_callable_that_cannot_be_used_is_refused(module, name, arguments, message):
    with pytest.raises(UserError, match=message):
        captioner(_target_=f"{module}.{name}", arguments=arguments).describe(PICTURES)


def test_a_callable_without_a_source_file_is_refused():
    with pytest.raises(UserError, match=r"captioner\._target_=time\.sleep has no source file"):
        captioner(_target_="time.sleep")


# A stored run.


def test_a_stored_callable_is_taken_from_the_user_alone():
    stored = captioner_from_plain(asdict(patches_config(_target_="theirs.describe", arguments={"side": 3})))
    refusal = r"names is run by itself.*_target_=theirs\.describe 'captioner\.arguments=\{side: 3\}'"
    with pytest.raises(UserError, match=refusal):
        stored.at_hand(StoredCaptioner())
    with pytest.raises(UserError, match=refusal):
        build_image_captioner(stored)
    mine = stored.at_hand(StoredCaptioner(_target_="mine.describe"))
    assert (mine._target_, mine.arguments) == ("mine.describe", None)


def test_a_stored_model_may_lie_elsewhere():
    stored = patches_config(model="a/b", revision="0" * 40)
    assert stored.at_hand(StoredCaptioner()) == stored
    moved = stored.at_hand(StoredCaptioner(model="folder"))
    assert (moved.model, moved.revision) == ("folder", None)


def test_other_captioners_take_nothing_from_the_user(saved):
    config = visual_words_config()
    assert config.at_hand(StoredCaptioner()) is config
    with pytest.raises(UserError, match=r"for runs with captioner=patches, and this run has captioner=visual_words"):
        config.at_hand(StoredCaptioner(model="folder"))
