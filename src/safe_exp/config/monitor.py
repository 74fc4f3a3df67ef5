"""Which validation figures can pick a checkpoint, and which side of each is better."""

from safe_exp.config.figure_names import LABELS, OF_SIMILARITY, lower_is_better
from safe_exp.system.errors import UserError


def legal_monitors(compares: bool) -> dict[str, str]:
    """Every figure that a validation logs, by its logged name: min or max, whichever is better.

    Args:
        compares: the variant computes a similarity of text and image.
    """
    names = list(LABELS)
    if compares:
        names += [f"{OF_SIMILARITY}{name}" for name in LABELS if not name.startswith("loss")]
    modes = {name: "min" if lower_is_better(name) else "max" for name in names}
    if compares:  # means of M_s: real articles' text and image are to agree, fake ones' are not
        modes |= {"similarity_real": "max", "similarity_fake": "min"}
    return {f"val/{name}": mode for name, mode in modes.items()}


def check_monitor(monitor: str, mode: str, variant: str, compares: bool) -> None:
    """Raise a UserError unless `monitor` is logged and `mode` is the side of it that is better."""
    legal = legal_monitors(compares)
    if monitor not in legal:
        raise UserError(
            f"callbacks.monitor={monitor} is not logged with model={variant}. Choose one of {', '.join(legal)}."
        )
    if mode != legal[monitor]:
        raise UserError(
            f"callbacks.mode={mode} would pick the worst checkpoint by {monitor}. Set callbacks.mode={legal[monitor]}."
        )
