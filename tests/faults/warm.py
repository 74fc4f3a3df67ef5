"""What every command imports, imported once, before it is forked."""

from hydra.core.plugins import Plugins

import safe_exp.evaluation
import safe_exp.prediction
import safe_exp.preparation
import safe_exp.training  # noqa: F401

Plugins.instance()  # looks through every sweeper and launcher that is installed, for a second
