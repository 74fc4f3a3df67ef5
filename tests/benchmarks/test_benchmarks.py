"""Every benchmark runs, at small sizes; no test depends on a time."""

import time

import pytest
import torch

from benchmarks import collection, gpu, loop, start
from benchmarks.__main__ import TINY, main
from benchmarks.measure import interleaved, peak_megabytes, ratio
from benchmarks.ports import PortedReleased, PortedSafe
from benchmarks.step import LOSS, Size, draw_words, released_functions, safe_functions
from safe_exp.equations import closed_form_gradients, closed_form_step
from safe_exp.network import SafeNetwork
from safe_exp.network.released_network import ReleasedNetwork


def test_the_command_prints_every_table(capsys):
    threads = torch.get_num_threads()
    main(["--tiny", "--rounds", "2", "--threads", "1"])
    out = capsys.readouterr().out
    for title in ("### One training step", "### Where its time goes", "### Peak memory of one step"):
        assert title in out
    assert "| SAFE, B=4, E=3, K=2 |" in out
    assert "| released, B=4, E=3, K=2 |" in out
    assert "torch" in out
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("functions", [safe_functions, released_functions])
def test_every_way_of_taking_a_step_runs(functions):
    for function in functions(TINY[0]).values():
        function()


def test_the_networks_of_other_ports_compute_what_ours_do():
    """Else different work would be compared. All articles are full, since padding changes the ports' results."""
    torch.manual_seed(0)
    net, ported = SafeNetwork(5, 5, [3, 4], 6, 4), PortedSafe(5, [3, 4], 6, 4)
    released, ported_released = ReleasedNetwork(7, 5, [3, 4], 6, 4), PortedReleased(7, 5, [3, 4], 6, 4)
    pairs = [(ported.text_encoder, net.text_encoder), (ported.visual_encoder, net.visual_encoder)]
    channels = (*released.text_encoder.values(), released.visual_encoder)
    pairs += zip(ported_released.channels, channels, strict=True)
    with torch.no_grad():
        for theirs, ours in pairs:
            for convolution, bank in zip(theirs.convolutions, ours.filters, strict=True):
                convolution.weight.copy_(bank.weight[:, None])
                convolution.bias.copy_(bank.bias)
            theirs.project.load_state_dict(ours.project.state_dict())
        ported.predictor.load_state_dict(net.predictor.state_dict())
        ported_released.predictor.load_state_dict(released.predictor.state_dict())
        ported_released.word_map.weight.copy_(released.word_map.weight)
        ported_released.word_map.bias.zero_()
        text, visual = torch.randn(3, 9, 5), torch.randn(3, 6, 5)
        sentences = torch.randn(3, 8, 7), torch.randn(3, 11, 7), torch.randn(3, 6, 7)
        for theirs, ours in (
            (ported(text, visual), net(text, visual)),
            (ported_released(*sentences), released(*sentences)),
        ):
            torch.testing.assert_close(theirs.logits, ours.logits)
            torch.testing.assert_close(theirs.similarity, ours.similarity)


def test_words_are_drawn_to_repeat_as_those_of_news_do():
    torch.manual_seed(0)
    for batch, distinct in ((64, 1950), (16, 740)):
        size = Size(batch, 1, 1)
        found = len(draw_words(size, 130, torch.zeros(size.vocabulary, 1)).tokens.unique())
        assert found == pytest.approx(distinct, rel=0.1)


def test_functions_take_turns_and_ratios_are_of_the_same_round():
    times = interleaved({"long": lambda: time.sleep(0.03), "short": lambda: time.sleep(0.001)}, rounds=3)
    assert {name: len(values) for name, values in times.items()} == {"long": 3, "short": 3}
    assert ratio([2.0, 30.0, 4.0], [1.0, 10.0, 2.0]) == "2.00 (2.00-3.00)"


def test_peak_memory_counts_what_is_held_at_once():
    def hold_two_of_three() -> None:
        first = torch.zeros(250_000)  # 1 MB each
        second = first + 1
        del first
        _ = second + 1

    assert peak_megabytes(hold_two_of_three) == pytest.approx(2, rel=0.01)


def test_the_closed_form_gathers_no_windows_and_keeps_no_graph():
    net = SafeNetwork(128, 128, [3, 4], 16, 8)
    text, visual, label = torch.randn(16, 50, 128), torch.randn(16, 20, 128), torch.arange(16) % 2
    windows = 16 * 16 * (3 + 4) * 128 * 4 / 1e6  # B·K·Σh·E float32: those of the text alone, in MB
    peak = peak_megabytes(lambda: closed_form_gradients(net, text, visual, label, alpha=0.6, beta=0.4))
    assert peak < windows / 4


def test_the_loop_is_compared_with_one_that_trains_the_same_weights(capsys):
    loop.main(["--tiny", "--rounds", "1"])  # it asserts that they do
    assert "| 60 articles × 2 epochs, K = 2 |" in capsys.readouterr().out


def test_a_start_is_timed_to_the_end_of_its_command_or_says_why_that_failed(tmp_path):
    seconds, processor_seconds = start.start(start.Way(["--help"]), str(tmp_path))
    assert seconds > 0
    assert processor_seconds > 0
    with pytest.raises(SystemExit, match="no_such_key"):
        start.start(start.Way(["no_such_key=1"], "Epoch 1"), str(tmp_path))


def test_a_collection_is_trained_and_its_memory_counted():
    threads = torch.get_num_threads()
    found = collection.job(articles=60, epochs=1, dim=4, threads=threads)
    assert found["peak"] >= found["before"] > 100  # MB: torch alone takes more
    assert found["per_second"] == pytest.approx(39 / found["seconds"])


@pytest.mark.slow
def test_one_command_runs_every_benchmark(capsys):
    main(["--all", "--tiny", "--rounds", "1", "--threads", "1"])
    out = capsys.readouterr().out
    for part in (
        "### One training step", "| 60 articles × 2 epochs, K = 2 |", "which makes and prepares the articles",
        "until its first epoch", "with W&B offline", "--help", "| 60 articles × 2 epochs, E = 5 |",
        "| 60 articles × 1 epochs, E = 25 |", "| bf16, B=4, E=3, K=2 |", "| K=1, logger=csv | 4 |",
    ):  # fmt: skip
        assert part in out


def test_steps_of_a_gpu_are_counted_or_not_made_up(capsys, monkeypatch):
    gpu.main(["--tiny", "--rounds", "1"])
    assert "| bf16, B=4, E=3, K=2 |" in capsys.readouterr().out
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main([])
    assert capsys.readouterr().out == "No GPU here, so nothing was measured.\n"


def test_memory_of_an_epoch_grows_with_the_tokens_and_not_with_tokens_times_e():
    def peak(articles: int, dim: int) -> float:
        config = loop.load_config(f"vectors.dim={dim}", "model.num_filters=2", "model.feature_dim=2")
        drawn = loop.DrawnArticles(config, articles, vocabulary=200)
        module = loop.SafeModule(config, drawn.text_vectors, drawn.visual_vectors)

        def epoch() -> None:
            for batch in drawn.train_dataloader():
                closed_form_step(module.network, label=batch.label, **module.embed(batch), **LOSS)

        return peak_megabytes(epoch)

    few, many, dim = 64, 640, 128
    vectors_of_all = (many - few) * 0.65 * 150 * dim * 4 / 1e6  # MB, were each token of the training looked up
    assert peak(many, dim) - peak(few, dim) < vectors_of_all / 50
