"""Imports of every command, done once, before the commands are forked."""

from hydra.core.plugins import Plugins

import safe_exp.data.prepare_command
import safe_exp.inference.answers
import safe_exp.inference.evaluation
import safe_exp.training.run  # noqa: F401

Plugins.instance()  # takes a second to look through the installed sweepers and launchers
