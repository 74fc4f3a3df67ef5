"""Validation figures that can pick a checkpoint, and the better side of each."""

from safe_exp.config.figure_names import DISPLAY_NAMES, SIMILARITY_PREFIX, lower_is_better
from safe_exp.system.errors import UserError


def legal_monitors(compares: bool) -> dict[str, str]:
    """Map the logged name of each validation figure to min or max, the better side.

    Args:
        compares: True if the variant computes a similarity of text and image.
    """
    names = list(DISPLAY_NAMES)
    if compares:
        names += [f"{SIMILARITY_PREFIX}{name}" for name in DISPLAY_NAMES if not name.startswith("loss")]
    modes = {name: "min" if lower_is_better(name) else "max" for name in names}
    if compares:  # means of M_s: text and image shall agree in real articles and differ in fake ones
        modes |= {"similarity_real": "max", "similarity_fake": "min"}
    return {f"val/{name}": mode for name, mode in modes.items()}


def check_monitor(monitor: str, mode: str, variant: str, compares: bool) -> None:
    """Refuse a monitor that the variant does not log, and a mode that would pick the worst checkpoint.

    Raises:
        UserError: the message lists the figures that are logged, or names the right mode.
    """
    legal = legal_monitors(compares)
    if monitor not in legal:
        raise UserError(
            f"callbacks.monitor={monitor} is not logged with model={variant}. Choose one of {', '.join(legal)}."
        )
    if mode != legal[monitor]:
        raise UserError(
            f"callbacks.mode={mode} would pick the worst checkpoint by {monitor}. Set callbacks.mode={legal[monitor]}."
        )
