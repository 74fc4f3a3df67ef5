"""What every command imports, imported once, before it is forked."""

from hydra.core.plugins import Plugins

import safe_exp.data.prepared.data_set
import safe_exp.inference.evaluation
import safe_exp.inference.oracle
import safe_exp.training.run  # noqa: F401

Plugins.instance()  # looks through every sweeper and launcher that is installed, for a second
