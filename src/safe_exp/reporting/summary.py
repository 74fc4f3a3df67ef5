"""A summary of a sweep in a few sentences: the swept keys, the jobs, the winner, and how certain it is."""

from safe_exp.config.figure_names import describe_score
from safe_exp.reporting.conditions import VARIANTS, Study, format_value, symbol
from safe_exp.reporting.statistics import FEWEST_FOR_INTERVAL, Summary
from safe_exp.reporting.sweep_tables import majority_rate


def summarise_study(study: Study, score: str) -> list[str]:
    """Write the summary as plain sentences, without markup."""
    return [_describe_keys(study), _describe_jobs(study), *_describe_winner(study, score), *_describe_certainty(study)]


def _describe_keys(study: Study) -> str:
    """Name the swept keys with their values, and the keys that are averaged over."""
    if not study.swept:
        kinds = " and ".join(study.replicates) or "nothing"
        return f"Swept: {kinds} alone, so all jobs are one condition and nothing is compared."
    parts = [f"{_name(key)} ({', '.join(map(format_value, study.list_values(key)))})" for key in study.swept]
    replicates = " and ".join(study.replicates)
    averaged = f"; each figure is averaged over {replicates}" if replicates else "; each condition has one job"
    return f"Swept: {', '.join(parts)}{averaged}."


def _name(key: str) -> str:
    """Return the name of a swept key in a sentence."""
    return "variant of the model" if key == VARIANTS else symbol(key)


def _describe_jobs(study: Study) -> str:
    """Count the jobs by state."""
    counts = study.sweep.counts
    rest = ", ".join(f"{count} {state}" for state, count in counts.items() if count and state != "finished")
    return f"{counts['finished']} of {len(study.sweep.jobs)} jobs finished{f'; {rest}' if rest else ''}."


def _describe_winner(study: Study, score: str) -> list[str]:
    """Name the winner, the reason for it, and its test scores beside the majority rate."""
    winner, monitored = study.winner, study.winner.summary("val", study.monitor)
    if not study.decided:
        figure = describe_score(study.monitor)
        return [f"No job has a finite {figure} on its validation articles, so no condition is chosen."]
    side = "lowest" if study.lowest_wins else "highest"
    chosen = (
        f"{winner.label} won: it has the {side} {describe_score(study.monitor)} on the validation articles, "
        f"{_figure(monitored)}, which is what each job's checkpoint was chosen by. The test articles had no say in it."
        if study.runner_up
        else f"On the validation articles {winner.label} reached {describe_score(study.monitor)} {_figure(monitored)}."
    )
    tested = winner.summary("test", score)
    names = [name for name in ("accuracy", "f1") if name != score]
    others = ", ".join(f"{describe_score(name)} {_figure(winner.summary('test', name))}" for name in names)
    reached = f"On the test articles it reached {describe_score(score)} {_figure(tested)}, {others}"
    majority = majority_rate(winner)
    accuracy = winner.summary("test", "accuracy").mean
    if majority is None or accuracy is None:
        return [chosen, f"{reached}."]
    beside = f"{reached}; always giving the commoner answer would be right for {majority:.3f} of them."
    return [chosen, beside] + (
        ["Its accuracy is no better than that of always giving one answer."] if accuracy <= majority else []
    )


def _describe_certainty(study: Study) -> list[str]:
    """Point out the limits of the choice: overlapping intervals, too few jobs, a loss that depends on swept weights."""
    sentences = []
    winner = study.winner
    if study.runner_up:
        count = len(winner.jobs)
        overlap = winner.summary("val", study.monitor).overlaps(study.runner_up.summary("val", study.monitor))
        if count < FEWEST_FOR_INTERVAL:
            sentences.append(
                f"With {count} job{'s' * (count > 1)} for each condition no interval can be given: another seed could "
                "name another winner. Sweep over seed=0,1,2,3,4 to know."
            )
        elif overlap:
            sentences.append(
                f"The intervals of the winner and of the next, {study.runner_up.label}, overlap on the validation "
                "articles: this sweep does not tell the two apart."
            )
        elif overlap is False:
            sentences.append(
                f"Its validation interval lies clear of that of the next, {study.runner_up.label}; with {count} "
                "replicates on the same articles that is a sign and no proof."
            )
    if study.task_keys:
        keys = " and ".join(map(symbol, study.task_keys))
        sentences.append(
            f"The jobs do not share their test articles: {keys} changes them. So the winner of all is no choice "
            "between models; compare within each value."
        )
    if study.excluded:
        sentences.append(
            f"{len(study.excluded)} condition{'s have' if len(study.excluded) > 1 else ' has'} fewer jobs with a "
            f"validation figure than the {winner.summary('val', study.monitor).n} of the others and could not win: a "
            "mean over fewer jobs is more often good by chance."
        )
    if study.monitor == "loss" and {"model.alpha", "model.beta", VARIANTS} & set(study.swept):
        sentences.append(
            "The jobs were compared by the whole loss L, which weighs its parts by α and β: between different α and β "
            "it is not the same measure. Sweep with callbacks.monitor=val/loss_prediction instead."
        )
    return sentences


def _figure(summary: Summary) -> str:
    """Write a mean with its interval, in words."""
    if summary.mean is None:
        return "undefined"
    interval = "" if summary.low is None else f" (95 % interval {summary.low:.3f} to {summary.high:.3f})"
    return f"{summary.mean:.3f}{interval}"
