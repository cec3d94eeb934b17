#!/usr/bin/env bash
# What a GPU is to show: its tests, the benchmarks, one short real pre-training.
#
#   scripts/gpu_check.sh [OPTIONS] STAGE...
#
#   all        every stage below, in this order
#   install    what --wheels holds and this package, into a folder of their own: PyTorch's environment stays as it is
#   tests      the tests marked gpu
#   batch      ResNet50, 224 px, SimCLR: batch sizes 16 and 64 against the bare step
#   compiled   the same, both compiled
#   others     the same as batch for batch sizes 32, 128 and 256
#   peers      ResNet50, 224 px, SimCLR, batch sizes 16 and 64: Lightly and the plain loop
#   methods    ResNet50, 224 px, batch size 64: the other methods against the bare step
#   small      ResNet18, 64 px: every batch size against all
#   evaluate   images to scores, against forwarding every probe epoch
#   tune       the search of the linear evaluation's settings
#   side       ResNet18, 64 px: 1, 2 and 4 trainings side by side
#   scale      time and memory against the number of images and the batch size
#   train      one short pre-training of ResNet50 at 224 px, scored
#   schedule   time to the same validation accuracy, with small images first and without
#   paper      the four methods as in the paper, ResNet50 at 224 px, for EPOCHS epochs (10, or 1 on a CPU), scored
#
# batch, compiled, others, peers, methods and small are a stage each batch size or method: small-64, methods-dcl.
# Nothing is compiled but in `compiled`, whose first steps take minutes.
#
#   --seconds N     all of it ends within N seconds (540). A stage that is done is not repeated, so that the same words
#                   typed again go on with the others; train and paper go on where they were cut short.
#   --results DIR   at the end summary.md, the tables so far, and log.txt, what went wrong (outputs/gpu_check)
#   --work DIR      packages, images, encoders and the tables one by one (outputs/gpu_check/work)
#   --wheels DIR    what a machine with Python, PyTorch and torchvision lacks. Made beforehand where there is a network
#                   by scripts/gpu_wheels.py, which builds the one wheel that no package index has.
#   --data DIR      a folder of class folders, such as the X-rays of train/; without it the phantom is drawn
#   --images KIND   what kind of pictures they are: any, xray or histology
#   --device cpu    the same stages at small sizes, to try the script where there is no GPU; so does --small
#
# On a machine with Python 3.12, PyTorch 2.11 and torchvision 0.26, no network and ten minutes a command:
#
#   scripts/gpu_check.sh --wheels wheels --results "$OUT" install tests batch
#   scripts/gpu_check.sh --wheels wheels --results "$OUT" all                    # again and again
set -euo pipefail

usage() { echo "gpu_check.sh: $1" >&2; exit 2; }
absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; } # named from where it was typed

device=cuda small=false seconds=540 wheels="" results="" work="" kind=any data=() images=(dataset=phantom)
while [[ ${1:-} == --* ]]; do
  [[ $1 != --small ]] || { small=true; shift; continue; }
  [[ $# -ge 2 ]] || usage "$1 got nothing, wanted a value after it"
  case $1 in
    --device) device=$2 ;;
    --seconds) seconds=$2 ;;
    --data) data=(--data "$(absolute "$2")"); images=(dataset=folder "dataset.root=$(absolute "$2")") ;;
    --images) kind=$2 ;;
    --wheels) wheels=$(absolute "$2") ;;
    --results) results=$(absolute "$2") ;;
    --work) work=$(absolute "$2") ;;
    *) usage "unknown option $1; wanted --device, --small, --seconds, --data, --images, --wheels, --results or --work" ;;
  esac
  shift 2
done
[[ $seconds =~ ^[0-9]+$ ]] || usage "--seconds $seconds: wanted a whole number"
[[ $device != cpu ]] || small=true
if [[ ${#data[@]} -gt 0 ]]; then
  data+=(--images "$kind")
  images+=("images=$kind")
fi
cd "$(dirname "$0")/.."
[[ $# -gt 0 ]] || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2; }

python=${PYTHON:-python3}
results=${results:-$PWD/outputs/gpu_check}
work=${work:-$PWD/outputs/gpu_check/work}
tables=$work/tables packages=$work/packages
mkdir -p "$results" "$tables" "$packages"
export PYTHONPATH=$packages${PYTHONPATH:+:$PYTHONPATH} # the only place where anything is installed

if $small; then
  large=(--backbone resnet18 --image-size 32)
  sizes=(16) others=(32) peers=(16)
  pace=(--seconds 1 --repetitions 1 --workers 0)
  tune=(--features 64 --epochs 1)
  evaluate=(--backbone resnet18 --image-size 32 --probe knn linear)  # not logistic: a simulated GPU gives back no labels
  side=(--image-size 32 --steps 4 --repetitions 1)
  short=(--repetitions 1 --epochs 4 --image-size 48)
  train=(backbone=resnet18 image_size=32 epochs=1 batch_size=32 probe.knn.k=20)
  paper=(backbone=resnet18 image_size=32 epochs="${EPOCHS:-1}" probe.knn.k=20)
else
  large=(--backbone resnet50 --image-size 224)
  sizes=(16 64) others=(32 128 256) peers=(16 64)
  pace=(--seconds 3 --workers 4 16)
  tune=()
  evaluate=("${large[@]}")
  side=()
  short=()
  train=(backbone=resnet50 image_size=224 epochs=10 batch_size=128)
  paper=(backbone=resnet50 image_size=224 epochs="${EPOCHS:-10}")
fi
common=(--device "$device" "${data[@]}" --work "$work")
runs=("${images[@]}" device="$device" compile=never data_dir="$work" output_dir="$work/runs")

# The stages that a name stands for.
stages() {
  case $1 in
    all) for name in install tests batch compiled others peers methods small evaluate tune side scale train schedule paper; do
      stages "$name"
    done ;;
    batch | compiled) printf "$1-%s\n" "${sizes[@]}" ;;
    others) printf 'batch-%s\n' "${others[@]}" ;;
    small) printf 'small-%s\n' "${sizes[@]}" "${others[@]}" ;;
    peers) printf 'peers-%s\n' "${peers[@]}" ;;
    methods) printf 'methods-%s\n' dcl simsiam vicreg ;;
    install | tests | evaluate | tune | side | scale | train | schedule | paper) echo "$1" ;;
    batch-?* | compiled-?* | small-?* | peers-?* | methods-?*) echo "$1" ;;
    *) usage "unknown stage $1; type scripts/gpu_check.sh for their names" ;;
  esac
}

left() { echo $((seconds - SECONDS)); } # SECONDS: bash's own, since the script began
# What is still at work when time is up is asked to end, then killed.
limited() { timeout --signal=INT --kill-after=10 $(($(left) > 20 ? $(left) - 15 : 5)) "$@"; }
benchmark() { limited "$python" -m "speed.$1" "${common[@]}" "${@:2}"; }
pretrain() { benchmark pretrain --compiled never "${pace[@]}" "$@"; }
lowres_ssl() { limited "$python" -m lowres_ssl "$@"; }

install() {
  [[ -n $wheels ]] || usage "install needs --wheels DIR; scripts/gpu_wheels.py makes it where there is a network"
  local pip=("$python" -m pip --quiet --disable-pip-version-check install --no-index --no-deps --upgrade --target "$packages")
  "${pip[@]}" "$wheels"/*.whl && "${pip[@]}" --no-build-isolation . && lowres_ssl doctor
}

stage() {
  local which=${1#*-}
  case $1 in
    install) install ;;
    tests) # those files alone: others import packages that are not needed here
      mapfile -t files < <(grep -rl 'mark\.gpu' tests --include='test_*.py' | sort)
      limited "$python" -m pytest -q -rs -m gpu -W default -p no:cacheprovider "${files[@]}" ;;
    batch-*) pretrain "${large[@]}" --batch-size "$which" --against bare ;;
    compiled-*) pretrain "${large[@]}" --batch-size "$which" --against bare --compiled always ;;
    peers-*) pretrain "${large[@]}" --batch-size "$which" --against lightly_parts lightly_tuned plain ;;
    methods-*) pretrain "${large[@]}" --method "$which" --batch-size 64 --against bare ;;
    small-*) pretrain --backbone resnet18 --image-size 64 --batch-size "$which" ;;
    evaluate) benchmark evaluate "${evaluate[@]}" --repetitions 1 ;;
    tune) limited "$python" -m speed.tune --device "$device" "${tune[@]}" ;;
    side) benchmark side "${side[@]}" ;;
    scale) limited "$python" -m speed.scale --device "$device" "${large[@]}" --repetitions 1 --work "$work" ;;
    train) lowres_ssl pretrain method=dcl recipe=tuned "${train[@]}" "${runs[@]}" ;;
    schedule) benchmark schedule "${short[@]}" ;;
    paper) lowres_ssl pretrain -m method=simclr,dcl,simsiam,vicreg recipe=paper "${paper[@]}" "${runs[@]}" ;;
  esac
}

# All tables as one page, in the order they were made, and what went wrong; whatever ends this.
leave() {
  {
    printf 'Commit %s\n\n' "$(git rev-parse --short HEAD 2>/dev/null || echo unknown)"
    ls -tr "$tables" | while read -r table; do
      case $table in
        *.md) printf '## %s\n\n' "${table%.md}" ;;
        *) printf '## %s: UNFINISHED, what it had printed\n\n' "${table%.unfinished}" ;;
      esac
      cat "$tables/$table"
      echo
    done
  } >"$results/summary.md"
  [[ ! -e $work/log.txt ]] || cp "$work/log.txt" "$results/log.txt"
}
trap leave EXIT

wanted=()
for name in "$@"; do
  found=$(stages "$name")
  mapfile -t -O "${#wanted[@]}" wanted <<<"$found"
done

failed=() not_begun=()
for name in "${wanted[@]}"; do
  if [[ -e $tables/$name.md ]]; then
    echo "== $name: done before; delete $tables/$name.md to repeat it" >&2
  elif [[ $(left) -lt 30 ]]; then
    not_begun+=("$name")
  else
    echo "== $name, $(left) s left" | tee -a "$work/log.txt" >&2
    # Its table has the name of one only when all of it is there.
    if stage "$name" 2> >(tee -a "$work/log.txt" >&2) | tee "$tables/$name.unfinished"; then
      mv "$tables/$name.unfinished" "$tables/$name.md"
    else
      failed+=("$name")
      [[ $name != install ]] || break
    fi
  fi
done
[[ ${#failed[@]} -eq 0 ]] || echo "gpu_check.sh: failed or out of time: ${failed[*]}" >&2
[[ ${#not_begun[@]} -eq 0 ]] || echo "gpu_check.sh: no time for: ${not_begun[*]}" >&2
[[ ${#failed[@]} -eq 0 && ${#not_begun[@]} -eq 0 ]] || { echo "gpu_check.sh: type the same again to go on" >&2; exit 1; }
