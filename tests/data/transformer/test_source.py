import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from safe_exp.data.transformer.source import describe_vectors, find_same_model, is_static, pretrained, read_table
from safe_exp.system.errors import UserError
from tests.data.tiny_transformers import DIM, bert, static, vectors_config


@pytest.fixture
def copied(tmp_path):
    return shutil.copytree(bert(), tmp_path / "bert")


def table(folder):
    return read_table(folder, pretrained(str(folder), None))


def test_the_table_of_a_transformer_is_its_word_embeddings():
    weights = load_file(bert() / "model.safetensors")
    assert torch.equal(table(bert()), weights["embeddings.word_embeddings.weight"])
    assert table(bert()).shape[1] == DIM


def test_the_table_of_a_static_model_is_its_tensor():
    assert torch.equal(table(static()), load_file(static() / "model.safetensors")["embeddings"])
    assert is_static(static())
    assert not is_static(bert())


def test_a_static_model_with_fewer_vectors_than_tokens_gives_each_token_its_own_times_its_weight(tmp_path):
    embeddings, mapping = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1, 0, 1])
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    save_file({"embeddings": embeddings, "mapping": mapping, "weights": weights}, tmp_path / "model.safetensors")
    assert table(tmp_path).tolist() == [[3, 4], [0.5, 1], [6, 8]]


def test_a_moved_model_is_the_same_and_a_changed_one_is_another(copied):
    entry = describe_vectors(vectors_config(bert(), -1))
    assert describe_vectors(vectors_config(copied, -1))["digest"] == entry["digest"]
    assert find_same_model({**entry, "model": str(copied)}) == copied
    weights = load_file(copied / "model.safetensors")
    save_file({name: weight + 1 for name, weight in weights.items()}, copied / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"reads the hidden states of a transformer, .* holds another one \(digest"):
        find_same_model({**entry, "model": str(copied)})


def test_a_model_that_is_not_at_hand_is_named(tmp_path):
    entry = describe_vectors(vectors_config(bert(), -1))
    with pytest.raises(UserError, match=r"hidden states of a transformer, .*nowhere, which must be at hand.*no such"):
        find_same_model({**entry, "model": str(tmp_path / "nowhere")})


def test_a_folder_without_safetensors_or_tokenizer_is_refused(copied):
    torch.save(load_file(copied / "model.safetensors"), copied / "pytorch_model.bin")
    for name in ("model.safetensors", "tokenizer.json"):
        (copied / name).unlink()
    with pytest.raises(UserError, match=r"lacks tokenizer\.json, model\.safetensors.*never from a pickle"):
        describe_vectors(vectors_config(copied))


def test_an_id_on_the_hub_needs_its_commit():
    with pytest.raises(UserError, match=r"needs vectors\.revision=COMMIT"):
        describe_vectors(vectors_config("some/model"))


def test_a_branch_is_no_revision():
    with pytest.raises(UserError, match=r"vectors\.revision=main: expected the 40 hexadecimal digits"):
        vectors_config("some/model", revision="main")


@pytest.mark.parametrize(
    ("name", "content"), [("model.safetensors", b"rubbish"), ("config.json", b"{}"), ("config.json", b"")]
)
def test_a_damaged_model_is_refused(copied, name, content):
    (copied / name).write_bytes(content)
    with pytest.raises(UserError, match=r"vectors\.model=.*no transformer can be loaded from .*vectors=default"):
        table(copied)


def test_code_that_a_model_brings_along_is_not_run(copied, tmp_path):
    config = json.loads((copied / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"}}
    (copied / "config.json").write_text(json.dumps(config))
    (copied / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    with pytest.raises(UserError, match="no transformer can be loaded"):
        table(copied)
    assert not (tmp_path / "ran").exists()


def test_vectors_that_are_no_numbers_are_refused(tmp_path):
    save_file({"embeddings": torch.full((3, 2), torch.nan)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="its vectors are not finite numbers"):
        table(tmp_path)
