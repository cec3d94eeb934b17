#!/usr/bin/env bash
# What a GPU is to show: its tests, the benchmarks, one short real pre-training. Each stage ends within 9 minutes.
#
#   scripts/gpu_check.sh [--device cuda|cpu] [--data DIR [--images KIND]] [--wheels DIR] [--results DIR] STAGE...
#
#   install    missing packages, from a folder of wheels (--wheels), and this package
#   tests      the tests marked gpu
#   batch      ResNet50, 224 px, SimCLR: every batch size against the bare step
#   peers      ResNet50, 224 px, SimCLR, batch 16 and 64: Lightly and the plain loop
#   methods    ResNet50, 224 px, batch 64: the other methods against the bare step
#   small      ResNet18, 64 px: every batch size against all
#   side       ResNet18, 64 px: 1, 2 and 4 trainings side by side
#   schedule   time to the same validation accuracy, with small images first and without
#   evaluate   images to scores, against forwarding every probe epoch
#   scale      time and memory against the number of images and the batch size
#   train      one short pre-training of ResNet50 at 224 px, scored
#   paper      the four methods as in the paper, ResNet50 at 224 px, for EPOCHS epochs (10, or 1 on a CPU), scored
#   summary    the tables of the stages that have run, as one page; what did not end is marked as such
#
# batch, peers, methods and small are a stage each batch size or method, which can be typed alone: small-64, methods-dcl.
# train and paper go on where they were cut short when they are typed again.
# --data: a folder of class folders, such as the X-rays of train/; without it the phantom is drawn. --images: what kind
# of pictures they are: any, xray or histology.
# --device cpu: the same stages at small sizes, to try the script where there is no GPU.
set -euo pipefail

absolute() { case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac; } # named from where it was typed

device=cuda data=() images=(dataset=phantom) kind=any wheels="" results=""
while [[ ${1:-} == --* ]]; do
  [[ $# -ge 2 ]] || { echo "gpu_check.sh: $1 got nothing, wanted a value after it" >&2; exit 2; }
  case $1 in
    --device) device=$2 ;;
    --data) data=(--data "$(absolute "$2")"); images=(dataset=folder "dataset.root=$(absolute "$2")") ;;
    --images) kind=$2 ;;
    --wheels) wheels=$(absolute "$2") ;;
    --results) results=$(absolute "$2") ;;
    *) echo "gpu_check.sh: unknown option $1; wanted --device, --data, --images, --wheels or --results" >&2; exit 2 ;;
  esac
  shift 2
done
if [[ ${#data[@]} -gt 0 ]]; then
  data+=(--images "$kind")
  images+=("images=$kind")
fi
cd "$(dirname "$0")/.."
[[ $# -gt 0 ]] || { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2; }

python=${PYTHON:-python3}
results=${results:-$PWD/outputs/gpu_check}
limit="timeout --signal=INT --kill-after=10 530"
mkdir -p "$results"
if [[ $device == cuda ]]; then
  large=(--backbone resnet50 --image-size 224)
  sizes=(16 32 64 128 256) peers=(16 64)
  workers=(--workers 4 16)
  train=(backbone=resnet50 image_size=224 epochs=10 batch_size=128)
  paper=(backbone=resnet50 image_size=224 epochs="${EPOCHS:-10}")
  turns=(--seconds 3)
  side=()
  short=()
else
  large=(--backbone resnet18 --image-size 32)
  sizes=(16 32) peers=(16)
  workers=(--workers 0)
  train=(backbone=resnet18 image_size=32 epochs=1 batch_size=32 probe.knn.k=20)
  paper=(backbone=resnet18 image_size=32 epochs="${EPOCHS:-1}" probe.knn.k=20)
  turns=(--seconds 1 --repetitions 1)
  side=(--image-size 32 --steps 4 --repetitions 1)
  short=(--repetitions 1 --epochs 4 --image-size 48)
fi
common=(--device "$device" "${data[@]}" --work "$results/work")
runs=("${images[@]}" device="$device" data_dir="$results/work" output_dir="$results/runs")
benchmark() { $limit "$python" -m "benchmarks.$1" "${common[@]}" "${@:2}"; }
pretrain() { benchmark pretrain "${turns[@]}" "${workers[@]}" "$@"; }

# The stages that a name stands for.
stages() {
  case $1 in
    batch | small) printf "$1-%s\n" "${sizes[@]}" ;;
    peers) printf 'peers-%s\n' "${peers[@]}" ;;
    methods) printf 'methods-%s\n' dcl simsiam vicreg ;;
    install | tests | side | schedule | evaluate | scale | train | paper | summary) echo "$1" ;;
    batch-?* | small-?* | peers-?* | methods-?*) echo "$1" ;;
    *) echo "gpu_check.sh: unknown stage $1; type scripts/gpu_check.sh for their names" >&2; return 2 ;;
  esac
}

stage() {
  local which=${1#*-}
  case $1 in
    install)
      if [[ -n $wheels ]]; then
        "$python" -m pip install --quiet --no-deps "$wheels"/*.whl
        "$python" -m pip install --quiet --no-deps --no-build-isolation --editable .
      else
        "$python" -m pip install --quiet --editable '.[dev,bench]'
      fi ;;
    tests) $limit "$python" -m pytest -q -m gpu ;;
    batch-*) pretrain "${large[@]}" --batch-size "$which" --against bare ;;
    peers-*) pretrain "${large[@]}" --batch-size "$which" --against lightly_parts lightly_tuned plain ;;
    methods-*) pretrain "${large[@]}" --method "$which" --batch-size 64 --against bare ;;
    small-*) pretrain --backbone resnet18 --image-size 64 --batch-size "$which" ;;
    side) benchmark side "${side[@]}" ;;
    schedule) benchmark schedule "${short[@]}" ;;
    evaluate) benchmark evaluate "${large[@]}" --repetitions 1 ;;
    scale) $limit "$python" -m benchmarks.scale --device "$device" "${large[@]}" --repetitions 1 --work "$results/work" ;;
    train) $limit "$python" -m lowres_ssl pretrain method=dcl recipe=tuned "${train[@]}" "${runs[@]}" ;;
    paper) $limit "$python" -m lowres_ssl pretrain -m method=simclr,dcl,simsiam,vicreg recipe=paper "${paper[@]}" \
      "${runs[@]}" ;;
    summary)
      for table in "$results"/*.md "$results"/*.unfinished; do
        [[ -e $table ]] || continue
        name=$(basename "$table")
        case $name in
          *.md) printf '## %s\n\n' "${name%.md}" ;;
          *) printf '## %s: UNFINISHED, what it had said before it ended\n\n' "${name%.unfinished}" ;;
        esac
        cat "$table"
        echo
      done ;;
  esac
}

wanted=()
for name in "$@"; do
  found=$(stages "$name") || exit 2
  mapfile -t -O "${#wanted[@]}" wanted <<<"$found"
done

failed=()
for name in "${wanted[@]}"; do
  echo "== $name" >&2
  if [[ $name == summary || $name == install ]]; then
    stage "$name"
  else
    # Its table has the name of one only when all of it is there.
    rm -f "$results/$name.md"
    if stage "$name" | tee "$results/$name.unfinished"; then
      mv "$results/$name.unfinished" "$results/$name.md"
    else
      failed+=("$name")
    fi
  fi
done
[[ ${#failed[@]} -eq 0 ]] || { echo "gpu_check.sh: failed or out of time: ${failed[*]}; type them again" >&2; exit 1; }
