"""Adds the folders of the user's own YAML to those that the configs of safe_exp's commands are read from."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OwnYaml(SearchPathPlugin):
    """Appends --config-dir and the working folder's conf/, behind conf/ of safe_exp."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        from safe_exp.config import CONF
        from safe_exp.runs.own_yaml import command_line, own_folders

        main = [element.path.removeprefix("file://") for element in search_path.get_path()]
        if str(CONF) not in main:  # Hydra loads this plugin into every program of the environment
            return
        for folder in own_folders(command_line()):
            search_path.append(folder.provider, f"file://{folder.path}")
