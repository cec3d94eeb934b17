"""Slurm's commands as far as submitit calls them, for a machine without Slurm: jobs are processes, all at once.

What is real is submitit and the job script it writes, which runs as it is; what Slurm itself would do is not tested.
"""

import os
from pathlib import Path

import pytest

# Keeps the script, which is moved once this returns; runs it for each place of the array, and again as long as it was
# put back into the queue.
SBATCH = """\
#!/bin/bash
cp "$1" "$HERE/script.sh"
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\)%.*/\\1/p' "$1")
cores=$(sed -n 's/^#SBATCH --cpus-per-task=//p' "$1")
tasks=$(sed -n 's/^#SBATCH --ntasks-per-node=//p' "$1")
export SLURM_ARRAY_JOB_ID=1000 SLURM_NTASKS=$tasks SLURM_NTASKS_PER_NODE=$tasks SLURM_JOB_NUM_NODES=1
export SLURM_CPUS_PER_TASK=$cores
for place in $(seq 0 "$last"); do
    (
        export SLURM_ARRAY_TASK_ID=$place SLURM_JOB_ID=$((1001 + place))
        echo RUNNING >"$HERE/state-$place"
        while true; do
            bash "$HERE/script.sh"
            rm "$HERE/requeued-1000_$place" 2>/dev/null || break
        done
        echo COMPLETED >"$HERE/state-$place"
    ) >"$HERE/output-$place" 2>&1 &
done
echo "Submitted batch job 1000"
"""
REFUSING = """\
#!/bin/bash
cp "$1" "$HERE/script.sh"
echo 'sbatch: error: invalid partition specified: none' >&2
exit 1
"""
# Runs the command once for each task.
SRUN = """\
#!/bin/bash
while [[ "$1" == --* ]]; do
    case "$1" in
    --output) log=$2; shift 2 ;;
    *) shift ;;
    esac
done
log=${log//%A/$SLURM_ARRAY_JOB_ID}
log=${log//%a/$SLURM_ARRAY_TASK_ID}
mkdir -p "$(dirname "$log")"
for task in $(seq 0 $((SLURM_NTASKS - 1))); do
    SLURM_PROCID=$task SLURM_LOCALID=$task "$@" >>"${log//%t/$task}" 2>&1 &
done
wait
"""
SACCT = """\
#!/bin/bash
echo 'JobID|State|NodeList'
for file in "$HERE"/state-*; do
    echo "1000_${file##*-}|$(cat "$file")|here"
done
"""
SCONTROL = """\
#!/bin/bash
case "$1" in
requeue) touch "$HERE/requeued-$2" ;;
show) echo localhost ;;
esac
"""


def set_up(folder: Path, monkeypatch: pytest.MonkeyPatch, refuses: bool = False) -> Path:
    """Put the commands on the PATH; the script that `sbatch` was given will be there."""
    folder.mkdir()
    commands = {"sbatch": REFUSING if refuses else SBATCH, "srun": SRUN, "sacct": SACCT, "scontrol": SCONTROL}
    for name, text in commands.items():
        (folder / name).write_text(text.replace("$HERE", str(folder)))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder / "script.sh"
