"""Completion in a shell: --shell-completion install=bash prints what the shell runs; it asks by query=… for words.

Hydra's own scripts know `python FILE` and installed programs, and nothing of `python -m MODULE`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from hydra.errors import CompactHydraException
from yaml import MarkedYAMLError

from safe_exp.cli.help import composed_rows
from safe_exp.cli.key_comments import as_yaml
from safe_exp.cli.mistakes import list_options
from safe_exp.config import CONF
from safe_exp.runs.own_yaml import FLAGS as FOLDER_FLAGS
from safe_exp.runs.own_yaml import config_dir, split_config_dir
from safe_exp.system.errors import UserError
from safe_exp.system.versions import PACKAGE

FLAGS = ("--shell-completion", "-sc")
LINE = "COMP_LINE"  # variable of the environment: the words behind the module, up to the cursor
COMMANDS = " ".join(sorted(path.stem for path in CONF.glob("*.yaml") if (PACKAGE / f"{path.stem}.py").exists()))

BASH = r"""_safe_exp_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" reply word
    COMPREPLY=()
    if [[ $line =~ ^[[:space:]]*[^[:space:]]+[[:space:]]+-m[[:space:]]+(safe_exp\.[a-z]*)$ ]]; then
        COMPREPLY=($(compgen -W "$(printf 'safe_exp.%s ' COMMANDS)" -- "${BASH_REMATCH[1]}"))
    elif [[ $line =~ ^[[:space:]]*([^[:space:]]+)[[:space:]]+-m[[:space:]]+(safe_exp\.[a-z]+)[[:space:]]+(.*)$ ]]; then
        word="${BASH_REMATCH[3]##* }"
        while IFS= read -r reply; do
            # Bash replaces the text behind the last = alone, where = breaks words.
            [[ $COMP_WORDBREAKS == *=* && $word == *=* ]] && reply="${reply#"${word%=*}="}"
            COMPREPLY+=("$reply")
        done < <(COMP_LINE="${BASH_REMATCH[3]}" "${BASH_REMATCH[1]}" -m "${BASH_REMATCH[2]}" -sc query=bash 2>/dev/null)
        [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace
    fi
}
complete -o bashdefault -o default -F _safe_exp_complete python python3
"""
ZSH = r"""(( $+functions[compdef] )) || { autoload -Uz compinit && compinit }
_safe_exp_complete() {
    local -a found
    if [[ $words[2] == -m && $words[3] == safe_exp.* ]] && (( CURRENT > 3 )); then
        local typed="${(j: :)words[4,CURRENT-1]} $PREFIX"
        found=(${(f)"$(COMP_LINE=$typed $words[1] -m $words[3] -sc query=zsh 2>/dev/null)"})
        if (( $#found )); then
            compadd -S '' -- ${(M)found:#*[=.]}
            compadd -- ${found:#*[=.]}
        else
            compset -P '*='
            _files
        fi
    elif [[ $words[2] == -m && $words[3] == safe_exp.* ]]; then
        compadd -- safe_exp.{COMMANDS}
    else
        _python "$@"
    fi
}
compdef _safe_exp_complete python python3
"""
FISH = r"""function __safe_exp_complete
    set -l words (commandline -opc)
    set -lx COMP_LINE "$words[4..] "(commandline -ct)
    $words[1] -m $words[3] -sc query=fish 2>/dev/null
end
for name in python python3
    complete -c $name -n 'string match -qr "^\S+ -m safe_exp\.\w+ " -- (commandline -pc)' -a '(__safe_exp_complete)'
end
"""
SCRIPTS = {
    "bash": BASH.replace("COMMANDS", COMMANDS),
    "zsh": ZSH.replace("COMMANDS", COMMANDS.replace(" ", ",")),
    "fish": FISH,  # it completes modules behind -m by itself
}
REMOVALS = {
    "bash": "complete -r python python3; unset -f _safe_exp_complete",
    "zsh": "compdef -d python python3; unfunction _safe_exp_complete",
    "fish": "complete -e -c python; complete -e -c python3; functions -e __safe_exp_complete",
}


def completion_asked(arguments: Sequence[str]) -> bool:
    """Tell whether --shell-completion is among the arguments."""
    return any(argument in FLAGS for argument in arguments)


def answer_shell(command: str, groups: Sequence[str], arguments: Sequence[str]) -> str:
    """Answer install=SHELL and uninstall=SHELL with lines for the shell to run, and query=SHELL with words, one a line.

    Args:
        command: the command, such as train.
        groups: config groups that it has.
        arguments: of the command line.
    Raises:
        UserError: there is another request, or another shell.
    """
    request, _, shell = next((a for a in arguments if "=" in a), "").partition("=")
    if request not in ("install", "uninstall", "query") or shell not in SCRIPTS:
        raise UserError(
            f"--shell-completion {request}={shell}: expected install= or uninstall= with one of {', '.join(SCRIPTS)}."
        )
    if request == "query":
        return "\n".join(complete(command, groups, os.environ.get(LINE, "")))
    return (SCRIPTS if request == "install" else REMOVALS)[shell]


def complete(command: str, groups: Sequence[str], line: str) -> list[str]:
    """List the words that the last word of a command line may become.

    Args:
        line: its words behind the module; a blank at the end begins a new word.
    """
    words = [word.strip("'\"") for word in line.split()]
    last = words.pop() if words and not line[-1].isspace() else ""
    if words and words[-1] in FOLDER_FLAGS:
        return []  # the shell completes a folder by itself
    return sorted({word for word in _words(command, groups, words, last) if word.startswith(last)})


def _words(command: str, groups: Sequence[str], words: Sequence[str], last: str) -> Iterator[str]:
    """Yield groups, keys and values that may stand in the place of `last`, and others."""
    if last.startswith("-"):
        yield from ("--multirun", "--help", "--cfg", "--config-dir")
        return
    key, equals, value = last.partition("=")
    begun = f"{key}={value[: value.rfind(',') + 1]}"  # of several values, as for -m, those before the last
    if equals and key in groups:
        yield from (f"{begun}{option}" for option in list_options(key))
        return
    try:
        rows, _ = composed_rows(command, [w for w in split_config_dir(words)[1] if "=" in w])
    except (CompactHydraException, MarkedYAMLError):
        rows, _ = composed_rows(command, [])
    if not equals:
        yield from (f"{group}=" for group in groups)
    for row in rows:
        section = row.key.partition(".")[0]
        if equals and row.key == key:
            choices = [line.partition("`")[2].partition("`")[0] for line in row.type.split("\n")[1:]]
            choices += ["true", "false"] * (row.type == "true · false")
            yield from (f"{begun}{choice}" for choice in choices or [as_yaml(row.value).replace(" ", "")])
        elif not equals:
            yield f"{section}." if section != row.key and not last.startswith(f"{section}.") else f"{row.key}="


def arguments_of_the_line() -> list[str]:
    """Return --config-dir as the line under completion has it, for the command that completes."""
    folder = config_dir(os.environ.get(LINE, "").split())
    return [] if folder is None else ["--config-dir", folder]
