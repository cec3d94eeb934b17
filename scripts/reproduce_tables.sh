#!/usr/bin/env bash
# Reproduce the paper: pre-train the grid and the baselines, tune and score the linear evaluation, then write
# Tables 1 to 3, Figures 2 to 4 and the comparisons from the stored results. Only commands you could type yourself.
#
#   PRESET=paper          the paper: ResNet50, 224 px, 250 epochs, random splits, Pneumonia also by its official folders
#                         (as the paper's; most test images then share a patient or source image with training)
#   PRESET=paper-patient  the same under patient-wise splits, the default of these sets elsewhere
#   PRESET=smoke          all of it in minutes on the synthetic phantom, and on a few X-rays where they are
#
#   scripts/reproduce_tables.sh [--dry-run] [key=value ...]
#
# First it prints which runs exist, which will run, their time and disk space; --dry-run stops there. key=value goes to
# every training, such as device=cuda; hydra/launcher=processes, slurm or ray_local to every heavy step (docs/launchers.md).
# Interrupted and repeated, it continues: finished runs are not repeated. A missing set is reported once and skipped, a
# failed command is reported, the rest continues, and in both cases the script ends with 1. Data and runs are in
# LOWRES_SSL_DATA and LOWRES_SSL_OUTPUTS (data/ and outputs/ by default; smoke runs in outputs/smoke).
set -euo pipefail

dry=false
if [ "${1:-}" = --dry-run ]; then
    dry=true
    shift
fi
launch=()
more=()
for word in "$@"; do
    case "$word" in
    hydra/* | hydra.*) launch+=("$word") ;;
    *) more+=("$word") ;;
    esac
done
preset="${PRESET:-paper}"
data="${LOWRES_SSL_DATA:-data}"

methods=simclr,dcl,simsiam,vicreg
# A study: data sets and the split they share.
case "$preset" in
paper | paper-patient)
    if [ "$preset" = paper ]; then
        # The paper: "Each of the datasets was randomly split into train, validation and test sets".
        studies=('breast,colorectal,pneumonia random' 'pneumonia official')
    else
        studies=('breast,colorectal,pneumonia patient')
    fi
    sizes=16,32,64
    seeds=0,1,2
    recipe=paper
    largest=64
    starts=random,random_calibrated
    random_seeds=0,1,2,3,4,5,6,7,8,9 # nothing is trained for them
    baselines=$starts,trivial,imagenet
    label_seeds=0,1,2
    fractions='[0.01,0.05,0.1,0.25,0.5,1.0]'
    each_fraction='[0.01],[0.05],[0.1],[0.25],[0.5],[1.0]'
    common=()
    linear=()
    tuning=()
    ;;
smoke)
    studies=('phantom patient')
    if [ -d "$data/pneumonia" ]; then
        studies=('phantom,pneumonia patient')
    fi
    sizes=16,32
    seeds=0,1
    recipe=tuned
    largest=32
    starts=random,random_calibrated
    random_seeds=0,1,2
    baselines=$starts,trivial # ImageNet's weights would have to be fetched
    label_seeds=0
    fractions='[0.25,1.0]'
    each_fraction='[0.25],[1.0]'
    common=(dataset.subset=160 backbone=resnet18 image_size=32 epochs=1 probe.knn.k=5 picture=false)
    linear=(probe.linear.epochs=10)
    export LOWRES_SSL_OUTPUTS="${LOWRES_SSL_OUTPUTS:-outputs/smoke}"
    tuning=("batch_size=[16,32]" "learning_rate=[0.1,0.01,0.001]" seeds=2 rule=quarter)
    ;;
*)
    printf 'PRESET=%s: wanted paper, paper-patient or smoke\n' "$preset" >&2
    exit 2
    ;;
esac
common+=("recipe=$recipe")

outputs="${LOWRES_SSL_OUTPUTS:-outputs}"
failed=0

show() {
    printf '\n$ %s\n' "$*"
    "$@" || failed=1
}

# keep FILE COMMAND...: shown, and written to the file as well
keep() {
    local file=$1
    shift
    mkdir -p "$(dirname "$file")"
    printf '\n$ %s | tee %s\n' "$*" "$file"
    "$@" | tee "$file" || { failed=1 && rm -f "$file"; }
}

# there STUDY: the study with those of its sets that are there; each of the others says once what to type
absent=,
there() {
    local set kept=
    at "$1"
    for set in ${sets//,/ }; do
        [[ $absent != *,$set,* ]] || continue
        if lowres-ssl --quiet data "dataset=$set" "split=$split" >/dev/null; then
            kept+=${kept:+,}$set
        else
            printf 'Left out: dataset=%s\n' "$set" >&2
            absent+=$set,
            failed=1
        fi
    done
    present=${kept:+$kept $split}
}

# at STUDY: what trains on it
at() {
    read -r sets split <<<"$1"
    grid=("method=$methods,$baselines" "batch_size=$sizes" "seed=$seeds")
    # Trained from the start, and fine-tuned, on a part of the labels and on all of them.
    supervised=(method=supervised "batch_size=$largest" keep_last_batch=true "seed=$label_seeds")
    started="initial_weights='random','method:dcl'"
}

# train OVERRIDES...: a sweep of trainings of the study at hand
train() {
    show lowres-ssl pretrain -m "dataset=$sets" "split=$split" "${common[@]}" "$@" "${more[@]}"
}

if [ "$preset" != smoke ]; then # smoke draws its set, and has looked for the other
    asked=("${studies[@]}")
    studies=()
    for study in "${asked[@]}"; do
        there "$study"
        [ -z "$present" ] || studies+=("$present")
    done
    [ "${#studies[@]}" -gt 0 ] || exit 1
fi

both=('probe=[knn,linear]' "${linear[@]}")
tuned=probe.linear.settings_from=tuned
for study in "${studies[@]}"; do
    at "$study"
    train "${grid[@]}" dry_run=true
    train "${supervised[@]}" "label_fraction=$each_fraction" dry_run=true # what is fine-tuned is not there yet
done
printf '\nIn none of these estimates: the fine-tuning, the evaluations, and the tuning of the linear evaluation.\n'
$dry && exit "$failed"

for study in "${studies[@]}"; do
    at "$study"
    train "${launch[@]}" "${grid[@]}" evaluate=false # scored once it is known with which settings
    train "${launch[@]}" "${supervised[@]}" "$started" "label_fraction=$each_fraction" "${both[@]}"
    show lowres-ssl tune -m "dataset=$sets" "split=$split" "recipe=$recipe" seed=0 "${tuning[@]}" "${linear[@]}" "${launch[@]}"
    train "${launch[@]}" "${grid[@]}" "${both[@]}" "$tuned"
    train "${launch[@]}" "method=$starts" "seed=$random_seeds" "${both[@]}" "$tuned"
    train "${launch[@]}" "${supervised[@]}" "$started" 'label_fraction=[1.0]' "${both[@]}" "$tuned"
    # Tuned settings knew all validation labels, so a part of them is scored with the paper's.
    train "${launch[@]}" "method=$methods,$baselines" "batch_size=$largest" "seed=$label_seeds" "label_fraction=$fractions" "${both[@]}"
done

for study in "${studies[@]}"; do
    at "$study"
    chosen=("recipe=$recipe" "split=$split")
    alike=("${chosen[@]}" settings=settings_from=tuned)
    show lowres-ssl tables 'table=[paper1,paper2,paper3]' "${alike[@]}" "folder=$outputs/tables/$split"
    show lowres-ssl figures 'figure=[samples,batch_size,tsne]' "${alike[@]}" "folder=$outputs/figures/$split"
    show lowres-ssl figures 'figure=[labels]' "${chosen[@]}" "folder=$outputs/figures/$split"
    keep "$outputs/comparisons/$split.txt" lowres-ssl compare "${alike[@]}"
done
show lowres-ssl tables table=recipes settings=settings_from=tuned "folder=$outputs/tables"
exit "$failed"
