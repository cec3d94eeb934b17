"""Complete the last word of a command line in bash, zsh and fish.

Each shell's script hands the line to `lowres-ssl --candidates LINE` and is given a candidate a line. Groups and
keys come from Hydra's own completion; choices of settings are known from the schemas.
"""

import io
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from enum import EnumMeta
from pathlib import Path
from typing import Any, get_args, get_origin

from lowres_ssl.config.overrides import FOLDER_COMMANDS, get_short_keys

OWN_FLAGS = ("--help", "--version", "--completion", "--quiet")
HYDRA_FLAGS = ("--help", "--cfg", "--resolve", "--package", "--multirun", "--config-dir", "--info", "--quiet")
FLAG_VALUES = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}
FILE_FLAGS = ("--config-dir", "-cd")

HydraCompleter = Callable[[str, Sequence[str], str], list[str]]

INSTRUCTIONS = """\
Completion of commands, groups, choices and keys. Put the line of your shell into its file:

  bash  ~/.bashrc                    source <(lowres-ssl --completion-script bash)
  zsh   ~/.zshrc, after compinit     source <(lowres-ssl --completion-script zsh)
  fish  ~/.config/fish/config.fish   lowres-ssl --completion-script fish | source
"""

# Bash divides words at `=` and `:` as well, and wants only what follows the last of these. What it is given it puts on
# the line as it is, so a name of a file that the shell would read as something else is quoted; the others quote it.
BASH_SCRIPT = """\
_lowres_ssl_complete() {
    local line="${COMP_LINE:0:COMP_POINT}" word kept="" letter candidate
    word="${line//\\\\ /_}"  # a blank that is quoted ends no word
    word="${word##*[[:space:]]}"
    for letter in = :; do
        if [[ $COMP_WORDBREAKS == *"$letter"* && $word == *"$letter"* ]]; then
            candidate="${word%"${word##*"$letter"}"}"
            (( ${#candidate} > ${#kept} )) && kept="$candidate"
        fi
    done
    COMPREPLY=()
    while IFS= read -r candidate; do
        candidate="${candidate#"$kept"}"
        case "$candidate" in
            *[[:space:]\\"\\'\\`\\$\\\\\\;\\&\\|\\<\\>\\(\\)\\!\\*\\?\\#]*) printf -v candidate %q "$candidate" ;;
        esac
        COMPREPLY+=("$candidate")
    done < <("${COMP_WORDS[0]}" --candidates "$line" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=./] ]] && compopt -o nospace
    return 0
}
complete -o nosort -F _lowres_ssl_complete lowres-ssl
"""

ZSH_SCRIPT = """\
_lowres_ssl() {
    local -a candidates open closed
    candidates=("${(@f)$("${words[1]}" --candidates "${(j: :)words[1,CURRENT-1]} ${PREFIX}" 2>/dev/null)}")
    open=(${(M)candidates:#*[=./]})
    closed=(${candidates:#*[=./]})
    (( $#open )) && compadd -S '' -a open
    (( $#closed )) && compadd -a closed
    return 0
}
compdef _lowres_ssl lowres-ssl
"""

FISH_SCRIPT = """\
complete -c lowres-ssl -e
complete -c lowres-ssl -f -a '(lowres-ssl --candidates (commandline -cp | string collect) 2>/dev/null)'
"""

COMPLETION_SCRIPTS = {"bash": BASH_SCRIPT, "zsh": ZSH_SCRIPT, "fish": FISH_SCRIPT}


def complete_line(line: str, commands: Sequence[str], ask: HydraCompleter) -> list[str]:
    """List what the last word of `line` (from the program's name to the cursor) may become, whole words, in order.

    `ask`: what Hydra knows of a command, the words before and the word.
    """
    words, word = split_line(line)
    before = [each for each in words[1:] if each != "--quiet"]
    if not before:
        return filter_by_prefix(word, [*commands, *OWN_FLAGS] if word else commands)
    command, before = before[0], before[1:]
    if command not in commands:
        return []
    if before and before[-1] in FLAG_VALUES:
        return filter_by_prefix(word, FLAG_VALUES[before[-1]])
    if before and before[-1] in FILE_FLAGS:
        return complete_files("", word)
    if word.startswith("-"):
        return filter_by_prefix(word, HYDRA_FLAGS)
    key, equals, value = word.partition("=")
    if not equals:
        found = complete_keys(command, before, word, ask)
        folders = [each for each in complete_files("", word) if each.endswith("/")]
        return [*folders, *found] if command in FOLDER_COMMANDS else found
    return complete_values(command, before, key, value, ask)


def split_line(line: str) -> tuple[list[str], str]:
    """Split off the last word, "" where the next one is about to begin. Quotes are those of a shell."""
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is still open
        words = line.split()
    ended = not line or (line[-1].isspace() and not line.endswith("\\ "))
    return (words, "") if ended else (words[:-1], words[-1])


def filter_by_prefix(word: str, known: Sequence[str]) -> list[str]:
    return [each for each in known if each.startswith(word)]


def complete_keys(command: str, before: Sequence[str], word: str, ask: HydraCompleter) -> list[str]:
    """List the groups and keys that begin with `word`; what is typed without its section stands without it."""
    hints = read_hints(command)
    found = {f"{each}=" for each in filter_by_prefix(word, sorted(get_short_keys(command)[1]))}
    for each in ask(command, before, word):
        name = each.rstrip("=./")
        if word.startswith("hydra"):
            found.add(each)
        elif each != name and name.partition(".")[0] in hints:  # Hydra offers the groups of other commands as well
            found.add(f"{name}=" if get_origin(hints.get(name)) is list else each)
    return sorted(found)


def complete_values(command: str, before: Sequence[str], key: str, value: str, ask: HydraCompleter) -> list[str]:
    """List what may stand after `key=`; of several values, in a list or for a sweep, the last one is completed."""
    from lowres_ssl.config.command_schemas import PATH_KEYS

    section, short = get_short_keys(command)
    name = f"{section}.{key}" if key in short else key.lstrip("+~")
    if name in PATH_KEYS:
        return complete_files(f"{key}=", value)
    start = max(value.rfind(","), value.rfind("[")) + 1
    done, last = f"{key}={value[:start]}", value[start:]
    hint = read_hints(command).get(name)
    choices = list_setting_values(hint)
    if not choices and get_origin(hint) is not list:
        choices = [each.partition("=")[2] for each in ask(command, before, f"{key}=")]
    return [f"{done}{each}" for each in filter_by_prefix(last, choices)]


def read_hints(command: str) -> dict[str, Any]:
    """Map each key of a command, as it is typed, to its annotation in the schema."""
    from lowres_ssl.config.command_schemas import SCHEMAS
    from lowres_ssl.config.experiment_schema import iter_keys

    return {key: hint for key, hint, _ in iter_keys(SCHEMAS[command])}


def list_setting_values(hint: Any) -> list[str]:
    """List the values of a setting that has a closed set of them; none where any will do, or a group has them."""
    for each in (hint, *get_args(hint)):
        if isinstance(each, EnumMeta):
            return list(each.__members__)
        if each is bool:
            return ["true", "false"]
    return []


def complete_files(before: str, word: str) -> list[str]:
    """List files and folders that begin with `word`, hidden ones only if it begins with a dot; a folder ends with a
    slash. Names that would break the line are left out."""
    folder, _, start = word.rpartition("/")
    place = Path(folder + "/" if "/" in word else ".").expanduser()
    try:
        entries = sorted(place.iterdir())
    except OSError:
        return []
    shown = (each for each in entries if each.name.isprintable() and (start or not each.name.startswith(".")))
    fitting = (each for each in shown if each.name.startswith(start))
    lead = before + word[: len(word) - len(start)]
    return [f"{lead}{each.name}{'/' if each.is_dir() else ''}" for each in fitting]


def make_hydra_completer(run: Callable[[str], None]) -> HydraCompleter:
    """Make a function that asks Hydra's own completion. `run`: runs a command with what stands in `sys.argv`."""

    def ask(command: str, before: Sequence[str], word: str) -> list[str]:
        sys.argv = [sys.argv[0], "-sc", "query=fish"]
        os.environ["COMP_LINE"] = " ".join(["lowres-ssl", *before, word])
        answer = io.StringIO()
        with redirect_stdout(answer), redirect_stderr(io.StringIO()):
            try:
                run(command)
            except (Exception, SystemExit):  # a line that is not whole yet may be anything
                return []
        return [line for line in answer.getvalue().splitlines() if line]

    return ask
