#!/usr/bin/env bash
# The whole way on an embedded, synthetic set: what is there, pre-train, evaluate, what came out. Nothing is downloaded.
# Data and runs go where all commands put them: data/ and outputs/, or LOWRES_SSL_DATA and LOWRES_SSL_OUTPUTS.
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
