#!/usr/bin/env bash
# Pre-train and evaluate on a synthetic set, and list the result. Nothing is downloaded.
# Data and runs are in data/ and outputs/, or in LOWRES_SSL_DATA and LOWRES_SSL_OUTPUTS.
set -euo pipefail

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

show lowres-ssl doctor
show lowres-ssl data dataset=phantom split=patient
show lowres-ssl pretrain method="${1:-dcl}" dataset=phantom split=patient recipe=tuned \
    backbone=resnet18 image_size=48 batch_size=32 epochs=24 probe.knn.k=20
show lowres-ssl runs
