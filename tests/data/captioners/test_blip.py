"""BLIP through transformers' own classes, on a tiny model with random weights; no test reaches the network."""

import json
import logging
import os
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from safe_exp.data.captioners import build_image_captioner
from safe_exp.system.errors import UserError
from tests.data.captioners.pictures import blip_config, noise

transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra: blip)")
WORDS = ["a", "the", "red", "blue", "boat", "man", "on", "of", "in", "house", "dog", "cat", "sea", "tree", "sky"]
PICTURES = [noise(seed, side=40) for seed in range(5)]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Folder as save_pretrained leaves it."""
    folder = tmp_path_factory.mktemp("blip")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", *WORDS])}
    sizes = dict(hidden_size=32, intermediate_size=64, projection_dim=16, num_hidden_layers=2, num_attention_heads=2)
    text = sizes | dict(vocab_size=len(vocabulary), encoder_hidden_size=32, max_position_embeddings=64,
                        bos_token_id=5, sep_token_id=3, pad_token_id=0, eos_token_id=3)  # fmt: skip
    vision = sizes | dict(image_size=32, patch_size=8)
    torch.manual_seed(0)
    # The large initializer makes the sentences depend on the picture.
    config = transformers.BlipConfig(
        text_config=text | dict(initializer_range=1.0), vision_config=vision | dict(initializer_range=0.5)
    )
    transformers.utils.logging.disable_progress_bar()
    transformers.BlipForConditionalGeneration(config).save_pretrained(folder)
    transformers.BertTokenizer(vocab=vocabulary, bos_token="[DEC]").save_pretrained(folder)
    transformers.BlipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved, tmp_path):
    """Copy of the folder, which a test may damage."""
    folder = tmp_path / "blip"
    folder.mkdir()
    for path in saved.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def captioner(folder, **changes):
    return build_image_captioner(blip_config(**({"model": str(folder), "revision": None, "device": "cpu"} | changes)))


@pytest.mark.parametrize("beams", [1, 3])
def test_sentences_are_those_of_a_direct_call_of_transformers(saved, beams):
    sentences = captioner(saved, num_beams=beams, max_words=6).describe(PICTURES)
    model = transformers.BlipForConditionalGeneration.from_pretrained(saved).eval()
    processor = transformers.BlipImageProcessorPil.from_pretrained(saved)
    tokenizer = transformers.BertTokenizer.from_pretrained(saved)
    for picture, sentence in zip(PICTURES, sentences, strict=True):  # one at a time: batch mates change nothing
        inputs = processor(images=picture, return_tensors="pt")
        tokens = model.generate(**inputs, num_beams=beams, do_sample=False, max_new_tokens=6)
        assert sentence == tokenizer.decode(tokens[0], skip_special_tokens=True)
        assert 0 < len(sentence.split()) <= 6
    assert len(set(sentences)) > 1


def test_a_picture_gives_the_same_sentence_on_every_call(saved):
    assert captioner(saved).describe(PICTURES) == captioner(saved).describe(PICTURES)


def test_a_folder_counts_by_its_content_and_not_by_its_name(saved, copied):
    settings = captioner(saved).settings
    assert captioner(copied, batch_size=2, device="auto").settings == settings
    assert captioner(copied, num_beams=2).settings != settings
    assert captioner(copied, max_words=9).settings != settings
    weights = load_file(copied / "model.safetensors")
    name = next(iter(weights))
    save_file(weights | {name: weights[name] + 1}, copied / "model.safetensors", metadata={"format": "pt"})
    assert captioner(copied).settings != settings
    json.dumps(settings)  # plain values


def test_a_model_on_the_hub_counts_by_its_commit_and_is_loaded_only_with_the_first_picture():
    settings = captioner("some/model", revision="0" * 40).settings
    assert (settings["model"], settings["revision"]) == ("some/model", "0" * 40)


def test_nothing_of_transformers_reaches_the_terminal(saved, capfd, caplog):
    with caplog.at_level(logging.INFO):
        captioner(saved).describe(PICTURES[:1])
    assert capfd.readouterr() == ("", "")
    assert [record.name for record in caplog.records] == ["safe_exp.data.captioners.blip"]  # Loading the captioner …


def test_a_pickle_is_never_read(copied):
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    (copied / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"lacks model\.safetensors.*never from a pickle.*captioner=visual_words"):
        captioner(copied)


def test_weights_that_are_missing_are_not_made_up(copied):
    weights = load_file(copied / "model.safetensors")
    weights.pop("vision_model.post_layernorm.weight")
    save_file(weights, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"1 weights of the model are missing.*vision_model\.post_layernorm\.weight"):
        captioner(copied).describe(PICTURES[:1])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"rubbish", "no BLIP model can be loaded"),
        ("config.json", b'{"model_type": "bert"}', "says model_type=bert, expected blip"),
        ("tokenizer.json", b"{", "no BLIP model can be loaded"),
        ("preprocessor_config.json", b"", "no BLIP model can be loaded"),
    ],
)
def test_a_damaged_model_is_refused(copied, name, content, message):
    (copied / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        captioner(copied).describe(PICTURES[:1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "./nowhere"}, r"captioner\.model=\./nowhere: there is no such folder.*captioner=visual_words"),
        ({"model": "blip"}, "there is no such folder, and an id on the Hugging Face hub looks like"),
        ({"model": "some/model"}, r"a model on the hub needs captioner\.revision=COMMIT"),
    ],
)
def test_a_model_that_cannot_be_meant_is_refused_at_once(changes, message):
    with pytest.raises(UserError, match=message):
        captioner("unused", **changes)


def test_a_device_that_is_not_there_is_refused(saved):
    with pytest.raises(UserError, match=r"captioner\.device=cuda:99: there is no such device.*device=auto"):
        captioner(saved, device="cuda:99").describe(PICTURES[:1])


def test_without_transformers_the_message_says_how_to_get_it(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r'pip install "safe-exp\[blip\]"\. captioner=visual_words'):
        captioner(saved).describe(PICTURES[:1])


def assert_says_how_to_get_the_model(message):
    assert "the model is not on this machine and cannot be downloaded" in message
    assert "hf download Salesforce/blip-image-captioning-large --revision 353689b859f" in message
    assert "set captioner.model=FOLDER." in message
    assert "captioner=visual_words" in message


def test_offline_the_message_says_how_to_get_the_model(tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError) as refused:
        build_image_captioner(blip_config()).describe(PICTURES[:1])
    assert_says_how_to_get_the_model(str(refused.value))


def test_a_model_that_lies_in_the_hub_s_cache_needs_no_network(saved, tmp_path, monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    commit = "0123456789" * 4
    shutil.copytree(saved, tmp_path / "models--some--model" / "snapshots" / commit)
    cached = captioner("some/model", revision=commit)
    assert cached.describe(PICTURES) == captioner(saved).describe(PICTURES)


@pytest.mark.slow  # the hub's client tries for 25 seconds
def test_without_network_the_message_says_how_to_get_the_model(tmp_path):
    """Run in a process of its own: the client reads its settings when it is imported. Port 9 is shut here."""
    code = (
        "from PIL import Image\nfrom safe_exp.data.captioners.blip import BlipConfig\n"
        "from safe_exp.data.captioners import build_image_captioner\nfrom safe_exp.system.errors import UserError\n"
        f"try:\n    build_image_captioner({blip_config()!r}).describe([Image.new('RGB', (9, 9))])\n"
        "except UserError as error:\n    print(error)"
    )
    settings = {"HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | settings, capture_output=True, text=True, timeout=120
    )
    assert_says_how_to_get_the_model(run.stdout)
    assert "Traceback" not in run.stdout + run.stderr
