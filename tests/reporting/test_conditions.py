"""The grouping of jobs, the choice on validation, and the summary in words."""

import pytest

from safe_exp.reporting.conditions import group
from safe_exp.reporting.summary import summarise_study
from safe_exp.sweep.folder import read_sweep
from tests.reporting.made_sweep import write_job, write_multirun


def read_study(sweep):
    return group(read_sweep(sweep))


def words(sweep, score="auroc"):
    return " ".join(summarise_study(read_study(sweep), score))


def write_two_conditions(sweep, val=((0.5, 0.6), (0.3, 0.4)), test=((0.9, 0.8), (0.7, 0.6))):
    """Write a sweep in which α = 0.2 is better on test and α = 0.4 on validation."""
    number = 0
    for alpha, losses, scores in zip((0.2, 0.4), val, test, strict=True):
        for seed, (loss, score) in enumerate(zip(losses, scores, strict=True)):
            write_job(sweep, number, "trainer.max_epochs=2", f"model.alpha={alpha}", f"seed={seed}", val_loss=loss,
                      auroc=score)  # fmt: skip
            number += 1
    return sweep


def test_swept_values_make_conditions_and_seeds_are_averaged(tmp_path):
    study = read_study(write_two_conditions(tmp_path))
    assert (study.swept, study.replicates) == (["model.alpha"], ["seed"])
    assert [c.label for c in study.conditions] == ["α = 0.2", "α = 0.4"]
    assert study.conditions[0].summary("test", "auroc").mean == pytest.approx(0.85)


def test_the_winner_is_chosen_on_validation_though_another_is_better_on_test(tmp_path):
    study = read_study(write_two_conditions(tmp_path))
    assert study.winner.values == {"model.alpha": 0.4}
    assert study.reference is study.winner


def test_folds_and_the_seed_of_the_split_are_replicates_too(tmp_path):
    for number in range(8):
        fold, alpha, split = number % 2, number // 2 % 2, number // 4
        write_job(tmp_path, number, f"data.fold={fold}", f"model.alpha={alpha}", f"data.seed={split}")
    study = read_study(tmp_path)
    assert (study.swept, study.replicates) == (["model.alpha"], ["data.fold", "data.seed"])
    assert [len(c.jobs) for c in study.conditions] == [4, 4]


def test_the_variants_are_compared_with_safe(tmp_path):
    for number, (variant, loss) in enumerate([("text_only", 0.2), ("safe", 0.5)]):
        write_job(tmp_path, number, f"model={variant}", val_loss=loss)
    study = read_study(tmp_path)
    assert study.winner.label == "text_only"
    assert study.reference.label == "safe"


def test_the_same_value_written_in_two_ways_is_one_condition(tmp_path):
    write_job(tmp_path, 0, "model.gamma=0.1", "seed=0")
    write_job(tmp_path, 1, "model.gamma=1e-1", "seed=1")
    (tmp_path / "1" / ".hydra" / "config.yaml").unlink()  # so that only the override tells
    assert read_study(tmp_path).swept == []


def test_a_condition_with_fewer_finished_jobs_cannot_win(tmp_path):
    write_two_conditions(tmp_path)
    write_job(tmp_path, 4, "trainer.max_epochs=2", "model.alpha=0.6", "seed=0", val_loss=0.01)
    write_job(tmp_path, 5, "trainer.max_epochs=2", "model.alpha=0.6", "seed=1", state="failed")
    study = read_study(tmp_path)
    assert study.winner.label == "α = 0.4"
    assert [(c.label, len(c.jobs), c.planned) for c in study.excluded] == [("α = 0.6", 1, 2)]
    assert "1 condition has fewer jobs with a validation figure than the 2 of the others and could not win" in words(
        tmp_path
    )


def test_a_missing_job_counts_for_its_condition(tmp_path):
    write_multirun(tmp_path, "model.alpha=0.2,0.4", "seed=0,1")
    write_job(tmp_path, 0, "model.alpha=0.2", "seed=0")
    write_job(tmp_path, 2, "model.alpha=0.4", "seed=0")
    assert [(len(c.jobs), c.planned) for c in read_study(tmp_path).conditions] == [(1, 2), (1, 2)]
    assert "2 of 4 jobs finished; 2 missing." in words(tmp_path)


def test_the_highest_wins_if_the_mode_is_max(tmp_path):
    for number, auroc in enumerate([0.6, 0.9, 0.7]):
        job = write_job(tmp_path, number, f"model.alpha={number}")
        path = job / ".hydra" / "config.yaml"
        path.write_text(path.read_text().replace("val/loss_prediction", "val/auroc").replace('"min"', '"max"'))
        metrics = (job / "metrics.json").read_text()
        (job / "metrics.json").write_text(metrics.replace('"auroc": 0.5', f'"auroc": {auroc}', 1))
    assert read_study(tmp_path).winner.label == "α = 1"


def test_the_summary_names_the_winner_and_its_test_scores(tmp_path):
    text = words(write_two_conditions(tmp_path))
    assert "Swept: α (0.2, 0.4); each figure is averaged over seed." in text
    assert "α = 0.4 won: it has the lowest loss L_p on the validation articles, 0.350" in text
    assert "it reached AUROC 0.650, accuracy 0.500" in text
    assert "right for 0.500 of them. Its accuracy is no better than that of always giving one answer." in text
    assert "With 2 jobs for each condition no interval can be given" in text


def test_the_summary_says_if_intervals_overlap(tmp_path):
    write_two_conditions(tmp_path / "a", val=((0.3, 0.4, 0.5), (0.29, 0.4, 0.49)), test=((0.5,) * 3,) * 2)
    assert "overlap on the validation articles: this sweep does not tell the two apart" in words(tmp_path / "a")
    write_two_conditions(tmp_path / "b", val=((0.9, 0.91, 0.92), (0.3, 0.31, 0.32)), test=((0.5,) * 3,) * 2)
    assert "lies clear of that of the next, α = 0.2" in words(tmp_path / "b")


def test_a_sweep_over_seeds_alone_compares_nothing(tmp_path):
    for seed in range(3):
        write_job(tmp_path, seed, f"seed={seed}", auroc=0.7 + seed / 10)
    text = words(tmp_path)
    assert "seed alone, so all jobs are one condition" in text
    assert " won" not in text
    assert "reached AUROC 0.800 (95 % interval 0.700 to 0.900)" in text


def test_comparing_the_whole_loss_between_weights_is_pointed_out(tmp_path):
    write_two_conditions(tmp_path)
    for path in tmp_path.glob("*/.hydra/config.yaml"):
        path.write_text(path.read_text().replace("val/loss_prediction", "val/loss"))
    assert "between different α and β it is not the same measure" in words(tmp_path)


def test_a_condition_with_diverged_jobs_cannot_win_by_the_others(tmp_path):
    write_two_conditions(tmp_path, val=((0.1, None), (0.3, 0.4)))
    study = read_study(tmp_path)
    assert study.winner.label == "α = 0.4"
    assert [condition.label for condition in study.excluded] == ["α = 0.2"]


def test_without_any_finite_validation_figure_nothing_wins(tmp_path):
    write_two_conditions(tmp_path, val=((None, None), (None, None)))
    text = words(tmp_path)
    assert read_study(tmp_path).reference_reason == "the first condition"
    assert "so no condition is chosen" in text
    assert " won" not in text
