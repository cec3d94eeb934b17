#!/usr/bin/env bash
# What a GPU is to show: its tests, the benchmarks, one short real pre-training. Each stage ends within 9 minutes.
#
#   scripts/gpu_check.sh [--device cuda|cpu] [--data DIR] [--wheels DIR] [--results DIR] STAGE...
#
#   install    missing packages, from a folder of wheels (--wheels), and this package
#   tests      the tests marked gpu
#   batch      ResNet50, 224 px, SimCLR: every batch size against the bare step
#   peers      ResNet50, 224 px, SimCLR, batch 16 and 64: Lightly and the plain loop
#   methods    ResNet50, 224 px, batch 64: the other methods against the bare step
#   small      ResNet18, 64 px: every batch size against all
#   schedule   time to the same validation accuracy, with small images first and without
#   evaluate   images to scores, against forwarding every probe epoch
#   scale      time and memory against the number of images and the batch size
#   train      one short pre-training of ResNet50 at 224 px, scored
#   summary    the tables of the stages that have run, as one page
#
# --data: a folder of class folders, such as the X-rays of train/; without it the phantom is drawn.
# --device cpu: the same stages at small sizes, to try the script where there is no GPU.
set -euo pipefail
cd "$(dirname "$0")/.."

device=cuda data=() images=(dataset=phantom) wheels="" results=outputs/gpu_check
while [[ ${1:-} == --* ]]; do
  case $1 in
    --device) device=$2 ;;
    --data) data=(--data "$2"); images=(dataset=folder "dataset.root=$2") ;;
    --wheels) wheels=$2 ;;
    --results) results=$2 ;;
    *) echo "gpu_check.sh: unknown option $1; wanted --device, --data, --wheels or --results" >&2; exit 2 ;;
  esac
  shift 2
done
[[ $# -gt 0 ]] || { sed -n '2,21s/^# \{0,1\}//p' "$0"; exit 2; }

python=${PYTHON:-python3}
limit="timeout --signal=INT 540"
mkdir -p "$results"
if [[ $device == cuda ]]; then
  large=(--backbone resnet50 --image-size 224)
  sizes=(16 32 64 128 256)
  workers=(--workers 4 8 16)
  train=(backbone=resnet50 image_size=224 epochs=10 batch_size=128)
  turns=(--seconds 3)
  short=()
else
  large=(--backbone resnet18 --image-size 32)
  sizes=(16 32)
  workers=(--workers 0)
  train=(backbone=resnet18 image_size=32 epochs=1 batch_size=32 probe.knn.k=20)
  turns=(--seconds 1 --repetitions 1)
  short=(--repetitions 1 --epochs 4 --image-size 48)
fi
common=(--device "$device" "${data[@]}" --work "$results/work")
pretrain() { $limit "$python" -m benchmarks.pretrain "${common[@]}" "${turns[@]}" "${workers[@]}" "$@"; }

stage() {
  case $1 in
    install)
      if [[ -n $wheels ]]; then
        "$python" -m pip install --quiet --no-deps "$wheels"/*.whl
        "$python" -m pip install --quiet --no-deps --no-build-isolation --editable .
      else
        "$python" -m pip install --quiet --editable '.[dev,bench]'
      fi ;;
    tests) $limit "$python" -m pytest -q -m gpu ;;
    batch) pretrain "${large[@]}" --batch-size "${sizes[@]}" --against bare ;;
    peers) pretrain "${large[@]}" --batch-size 16 64 --against lightly_parts lightly_tuned plain ;;
    methods) pretrain "${large[@]}" --method dcl simsiam vicreg --batch-size 64 --against bare ;;
    small) pretrain --backbone resnet18 --image-size 64 --batch-size "${sizes[@]}" ;;
    schedule) $limit "$python" -m benchmarks.schedule "${common[@]}" "${short[@]}" ;;
    evaluate) $limit "$python" -m benchmarks.evaluate "${common[@]}" "${large[@]}" --repetitions 1 ;;
    scale) $limit "$python" -m benchmarks.scale --device "$device" "${large[@]}" --work "$results/work" ;;
    train) $limit "$python" -m lowres_ssl pretrain method=dcl recipe=tuned "${train[@]}" device="$device" \
      "${images[@]}" data_dir="$results/work" output_dir="$results/runs" ;;
    summary) for table in "$results"/*.md; do echo "## $(basename "$table" .md)"; echo; cat "$table"; echo; done ;;
    *) echo "gpu_check.sh: unknown stage $1" >&2; exit 2 ;;
  esac
}

failed=()
for name in "$@"; do
  echo "== $name" >&2
  if [[ $name == summary || $name == install ]]; then
    stage "$name"
  else
    stage "$name" | tee "$results/$name.md" || failed+=("$name")
  fi
done
[[ ${#failed[@]} -eq 0 ]] || { echo "gpu_check.sh: failed or out of time: ${failed[*]}; type them again" >&2; exit 1; }
