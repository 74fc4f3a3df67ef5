"""The built-in data set: made articles, pictures and captions with two signals whose strengths are set in config.

plan.py      what is decided about an article first: its label, its signals, its scenes
ideal.py     what the best possible classifier reaches, exact
stories.py   title, body and caption          pictures.py   the picture
folder.py    all of them on disk
"""

from safe_exp.data.synthetic.folder import synthetic_folder, write_synthetic
from safe_exp.data.synthetic.ideal import Ideal, ideal_auroc, ideal_figures

__all__ = ["Ideal", "ideal_auroc", "ideal_figures", "synthetic_folder", "write_synthetic"]
