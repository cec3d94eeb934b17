#!/usr/bin/env bash
# The paper from one script: pre-trains the grid and the baselines, tunes and scores the linear evaluation, then makes
# Tables 1 to 3, Figures 2 to 4 and the comparisons from the stored results. Only commands you could type yourself.
#
#   PRESET=paper          the paper: ResNet50, 224 px, 250 epochs, random splits, Pneumonia also by its official folders
#   PRESET=paper-patient  the same under patient-wise splits
#   PRESET=smoke          all of it in minutes on the synthetic phantom, and on a few X-rays where they are
#
#   scripts/reproduce_tables.sh [--dry-run] [key=value ...]
#
# --dry-run says what is there, what would run, how long and how large, and stops. key=value goes to every training, such
# as device=cuda or seed=0. Killed anywhere and started again it goes on where it was: finished runs are not repeated.
# Data and runs live in LOWRES_SSL_DATA and LOWRES_SSL_OUTPUTS (data/ and outputs/ if they are not set).
set -euo pipefail

dry=false
if [ "${1:-}" = --dry-run ]; then
    dry=true
    shift
fi
more=("$@")
preset="${PRESET:-paper}"
data="${LOWRES_SSL_DATA:-data}"
outputs="${LOWRES_SSL_OUTPUTS:-outputs}"

methods=simclr,dcl,simsiam,vicreg
case "$preset" in
paper | paper-patient)
    if [ "$preset" = paper ]; then
        studies=(breast/random colorectal/random pneumonia/random pneumonia/official)
    else
        studies=(breast/patient colorectal/patient pneumonia/patient)
    fi
    recipe=paper
    sizes=16,32,64
    largest=64
    seeds=0,1,2
    baselines=random,trivial,imagenet,supervised
    fractions='[0.01,0.05,0.1,0.25,0.5,1.0]'
    each_fraction='[0.01],[0.05],[0.1],[0.25],[0.5],[1.0]'
    common=()
    linear=()
    tuning=()
    ;;
smoke)
    studies=(phantom/patient)
    if [ -d "$data/pneumonia" ]; then
        studies+=(pneumonia/stratified)
    fi
    recipe=tuned
    sizes=16,32
    largest=32
    seeds=0,1
    baselines=random,trivial,supervised # ImageNet's weights would have to be fetched
    fractions='[0.25,1.0]'
    each_fraction='[0.25],[1.0]'
    common=(dataset.subset=160 backbone=resnet18 image_size=32 epochs=2 probe.knn.k=5)
    linear=(probe.linear.epochs=20)
    tuning=("batch_size=[16,32]" "learning_rate=[0.1,0.01,0.001]" seeds=2 rule=quarter)
    ;;
*)
    printf 'PRESET=%s: wanted paper, paper-patient or smoke\n' "$preset" >&2
    exit 2
    ;;
esac
common+=("recipe=$recipe")

show() {
    printf '\n$ %s\n' "$*"
    "$@"
}

# train STUDY OVERRIDES...: a sweep of trainings on a data set under a split
train() {
    local study="$1"
    shift
    show lowres-ssl pretrain -m "dataset=${study%/*}" "split=${study#*/}" "seed=$seeds" "${common[@]}" "$@" "${more[@]}"
}

if $dry; then
    for study in "${studies[@]}"; do
        train "$study" "method=$methods" "batch_size=$sizes" dry_run=true
        train "$study" method=supervised "batch_size=$largest" keep_last_batch=true "label_fraction=$each_fraction" \
            dry_run=true
    done
    exit
fi

both=('probe=[knn,linear]' "${linear[@]}")
tuned=("${both[@]}" probe.linear.settings_from=tuned)
for study in "${studies[@]}"; do
    train "$study" "method=$methods" "batch_size=$sizes" 'probe=[knn]'
    train "$study" "method=$baselines" "batch_size=$largest" keep_last_batch=true 'probe=[knn]'
    show lowres-ssl tune "dataset=${study%/*}" "split=${study#*/}" "recipe=$recipe" seed=0 \
        "${tuning[@]}" "${linear[@]}"
    train "$study" "method=$methods" "batch_size=$sizes" "${tuned[@]}"
    train "$study" "method=$baselines" "batch_size=$largest" keep_last_batch=true "${tuned[@]}"

    # Label efficiency: the frozen encoders, then training and fine-tuning on the same labels.
    # Tuned settings knew all validation labels, so a fraction of them is scored with those of the paper.
    train "$study" "method=$methods" "batch_size=$largest" "label_fraction=$fractions" "${both[@]}"
    for start in null method:dcl; do
        train "$study" method=supervised "initial_weights=$start" "batch_size=$largest" keep_last_batch=true \
            "label_fraction=$each_fraction" 'probe=[knn]'
    done
done

for split in $(printf '%s\n' "${studies[@]#*/}" | sort -u); do
    chosen=("recipe=$recipe" "split=$split")
    alike=("${chosen[@]}" settings=settings_from=tuned)
    show lowres-ssl tables 'table=[paper1,paper2,paper3]' "${alike[@]}" "folder=$outputs/tables/$split"
    show lowres-ssl figures 'figure=[samples,batch_size,tsne]' "${alike[@]}" "folder=$outputs/figures/$split"
    show lowres-ssl figures 'figure=[labels]' "${chosen[@]}" "folder=$outputs/figures/$split"
    show lowres-ssl compare "${alike[@]}"
done
show lowres-ssl tables table=recipes settings=settings_from=tuned "folder=$outputs/tables"
