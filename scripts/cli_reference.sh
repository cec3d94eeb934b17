#!/usr/bin/env bash
# Prints docs/cli.md: the help texts as they are. `make docs` writes it; a test fails when it is stale.
set -euo pipefail
unset LOWRES_SSL_DATA LOWRES_SSL_OUTPUTS

section() {
    printf '\n## `lowres-ssl %s`\n\n```text\n' "$1"
    # shellcheck disable=SC2086 # a command and its option
    lowres-ssl $1
    printf '```\n'
}

printf '# Command line\n\nGenerated from the help texts by `make docs`.\n'
section --help
for command in $(python -c 'from lowres_ssl.cli.main import COMMANDS; print(*COMMANDS)'); do
    section "$command --help"
done
