"""The built-in data set: made articles, pictures and captions with two signals whose strengths are set in config."""

from safe_exp.data.synthetic.folder import synthetic_folder, write_synthetic
from safe_exp.data.synthetic.ideal import Ideal, ideal_auroc, ideal_figures

__all__ = ["Ideal", "ideal_auroc", "ideal_figures", "synthetic_folder", "write_synthetic"]
