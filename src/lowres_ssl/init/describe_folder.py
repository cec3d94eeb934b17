"""Describe what was found in a folder of images as text, with the settings and the first commands for it."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from textwrap import indent

import numpy as np
import torch

from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import format_table, log_warning, pluralise, shorten_list
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.partition import SUBSETS
from lowres_ssl.data.splits import Split, compute_leakage, count_groups, get_default_split_kind, make_split
from lowres_ssl.errors import DataError, escape_line
from lowres_ssl.init.default_settings import MIN_VIEWS, choose_default_settings, choose_epochs, suggest_budget
from lowres_ssl.init.folder_levels import is_patient_folder
from lowres_ssl.init.inspect_folder import FolderSurvey
from lowres_ssl.init.left_out import find_empty_classes, find_second_formats, find_unused_folders, format_other_files

TABLE_OPTIONS = ("table", "path", "second_path", "label", "patient", "patient_table", "split")
CPU_BACKBONE = "backbone=resnet18"  # minutes in place of hours
MAX_NAMED_FOLDERS = 3
# As studied in docs/recipe_study.md; smaller images are not enlarged for it.
CONTINUED_SIZES = ("image_size=112", "scored_size=224")
CONTINUED_FROM = 64


def list_subset_columns(catalogue: Catalogue) -> dict[str, Mapping[str, int]]:
    """List the images of each class, and by subset if the set is divided."""
    by_subset = {
        name: Counter(record.label for record in catalogue.records if record.subset == name) for name in SUBSETS
    }
    return {"images": catalogue.counts(), **{name: counts for name, counts in by_subset.items() if counts}}


def make_default_split(found: FolderSurvey) -> tuple[Split, list[str]]:
    """Divide the set as `split=auto` does; where its patients cannot be divided, `stratified`, and return the override
    for that. Raises `DataError` for a class that is too small."""
    try:
        return make_split(found.catalogue, kind="auto", seed=0), []
    except DataError as error:
        if get_default_split_kind(found.catalogue) != "patient":
            raise
        log_warning(f"{error}")
        return make_split(found.catalogue, kind="stratified", seed=0), ["split=stratified"]


def list_folder_facts(found: FolderSurvey, split: Split) -> list[list[str]]:
    """List what was found beside the classes, a row each."""
    records, look = found.catalogue.records, found.look
    images = records or found.catalogue.unlabelled
    sizes = np.array([(record.width, record.height) for record in images])
    (width, height), (widest, highest) = sizes.min(axis=0), sizes.max(axis=0)
    same = (width, height) == (widest, highest)
    sample = f"{look.decoded} looked at" if look.decoded == len(images) else f"a sample of {look.decoded}"
    colour = {
        "xray": f"grey ({look.grey} of {sample})",
        "histology": f"colour, with the violet of stained tissue or cells ({look.stained} of {sample}; a guess)",
        "any": f"colour ({look.decoded - look.grey} of {sample})",
    }[look.images]
    copies = len(images) - len({record.sha256 for record in images})
    counts = f"{len(split.train):,} train, {len(split.validation):,} validate, {len(split.test):,} test"
    rows = [
        *([["read as", format_folder_kind(found)]] if found.conf != "folder" else []),
        ["pixels", f"{width} x {height}, all of them" if same else f"{width} x {height} to {widest} x {highest}"],
        ["pictures", colour if look.bits is None else f"{colour}; {look.bits} of 16 bits are in use"],
        ["duplicates", f"{pluralise(copies, 'image')} byte for byte as another" if copies else "none, byte for byte"],
        ["patients", format_patients(found)],
    ]
    if records:
        rows.append(["split", f"{split.kind}: {counts}"])
    groups = [len(count_groups(found.catalogue, own)) for own in (split.train, split.validation, split.test)]
    if any(groups):
        rows.append(["", "of {:,}, {:,} and {:,} patients, slides or source images".format(*groups)])
    warnings = compute_leakage(found.catalogue, split).list_warnings()
    rows += [["leakage", each.removeprefix("leakage: ")] for each in warnings]
    wrong = "; if they are images of the set, take it out of the file"
    rows += [["left out", f"{each.files:,} {each.what}: {each.pattern}{wrong}"] for each in found.exclusions]
    if found.unreadable:
        path, reason = next(iter(found.unreadable.items()))
        rows.append(["unreadable", f"{pluralise(len(found.unreadable), 'file')}, for one {path.name}: {reason}"])
    if found.lost_classes:
        rows.append(
            ["", f"no image of {shorten_list(found.lost_classes, MAX_NAMED_FOLDERS)} can be read: no class of the set"]
        )
    if found.other_files:
        rows.append(["other files", format_other_files(found.other_files)])
    return [[head, escape_line(text)] for head, text in rows]


def list_folder_warnings(found: FolderSurvey) -> list[str]:
    """Warn of other readings, of folders without images or unused, of class folders that look like patients, and of
    classes that are one, perhaps."""
    if not found.catalogue.records:
        return [*found.notes, describe_missing_labels(found)]
    notes = list(found.notes)
    if found.conf == "folder":
        empty, unused = find_empty_classes(found.folder), find_unused_folders(found.folder)
        if empty:
            notes.append(f"no image in {shorten_list(empty, MAX_NAMED_FOLDERS)}: not a class of the set")
        if unused:
            notes.append(
                f"{shorten_list(unused, MAX_NAMED_FOLDERS)}: images beside the train and test folders are not in the "
                "set; move them into a class there, or name what is for pre-training alone with "
                "dataset.unlabelled=FOLDER"
            )
    if (copies := find_second_formats([each.id for each in found.catalogue.records])) is not None:
        exclude = [*found.typed.exclude, f"*.{copies[1].rpartition('.')[2]}"]
        notes.append(
            f"{copies[0]} and {copies[1]} may be one picture, as most images are there twice by name; to leave the "
            f"second out type {found.typed.format_init(found.folder.root, exclude=exclude)}"
        )
    classes = found.catalogue.classes
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        spellings[" ".join(name.casefold().split())].append(name)
    if alike := next((own for own in spellings.values() if len(own) > 1), None):
        notes.append(
            f"{shorten_list([repr(name) for name in alike])} differ in case or spaces only, and are classes of their "
            "own; if they are one, spell them alike in the table or in the names of folders and files"
        )
    patients = [name for name in classes if is_patient_folder(name)]
    if len(patients) * 2 > len(classes):
        notes.append(
            f"the folders look like patients, not classes, for one {patients[0]}; wanted one folder a class, with "
            "theirs inside, or a table of labels"
        )
    return notes


def describe_missing_labels(found: FolderSurvey) -> str:
    """Describe why the images are taken for unlabelled, with the command of the other reading."""
    folders = sorted({each.id.partition("/")[0] for each in found.catalogue.unlabelled if "/" in each.id})
    images = "so these are images without labels, to train on and to embed; nothing is scored"
    if len(folders) < 2:
        return f"no two class folders, {images}; a folder for each class, or a table of labels, would be read"
    other = found.typed.format_init(found.folder.root, labelled=True)
    return (
        f"the folders ({shorten_list(folders, MAX_NAMED_FOLDERS)}) look like patients, days or parts of a set, or hold "
        f"an image each, {images}; if they are classes, type {other}"
    )


def format_folder_kind(found: FolderSurvey) -> str:
    """Describe a set that is not read as class folders."""
    if found.conf == "csv":
        shown = {key: value for key, value in found.options.items() if key in TABLE_OPTIONS and value}
        columns = ", ".join(
            f"{key}: {shorten_list(value) if isinstance(value, list) else value}" for key, value in shown.items()
        )
        return f"a table of labels ({columns})"
    return f"dataset={found.conf}: the file names are that set's, and name the patients"


def format_patients(found: FolderSurvey) -> str:
    """Describe whether patients are known, and how."""
    images = found.catalogue.records or found.catalogue.unlabelled
    groups = {record.group for record in images if record.group}
    if found.guess is not None:
        guess = found.guess
        return (
            f"a guess from the names: {guess.groups:,} in {guess.matched:,} images, such as {guess.example} "
            f"({pluralise(guess.example_images, 'image')}); if it is wrong, take group_pattern out of the file"
        )
    if groups:
        origin = {"folder": "by the DICOM files", "csv": "by the table"}.get(found.conf, "slides or source images")
        if "group_pattern" in found.options:
            origin = f"by the names of folders, such as {min(groups)}"
        without = sum(record.group is None for record in images)
        rest = f"; {pluralise(without, 'image')} without one, each taken for a patient of its own" if without else ""
        return f"{len(groups):,}, {origin}{rest}"
    if found.conf == "csv":
        column = found.typed.format_init(found.folder.root, patient="COLUMN")
        return f"not known: no column is named like patients, nor are the files; to name one type {column}"
    names = {PurePosixPath(image.id).stem for image in images}
    if len(names) == len(images) and all(map(is_patient_folder, names)):
        return f"by the names of files an image each, such as {min(names)}: each image is a patient of its own"
    return "not known: nothing in the names looks like patients (dataset.options.group_pattern names them)"


def format_first_commands(name: str, found: FolderSurvey, split: Split, chosen: list[str]) -> str:
    """Format settings for these images and this machine, the reasons, and the commands with them. `chosen`: the
    override of a split that is not the set's default."""
    gpu = torch.cuda.is_available()
    fit = choose_default_settings(found.catalogue, split, gpu=gpu)
    epochs = choose_epochs(fit.epoch_views, gpu=gpu)
    size = [*([] if gpu else [CPU_BACKBONE]), f"image_size={fit.image_size}"]
    knn = [f"probe.knn.k={fit.k}"] if fit.k else []
    steps = pluralise(fit.train_images // fit.batch_size, "step")
    reasons = [
        [" ".join(size), "what the images allow" if gpu else "for a first try on a CPU"],
        [
            f"epochs={epochs}",
            f"{epochs * fit.epoch_views:,} views (a view: one augmented image); fewer than {MIN_VIEWS:,} from "
            "random initialisation have not been studied",
        ],
        [f"batch_size={fit.batch_size}", f"{steps} an epoch, of {fit.train_images:,} training images"],
        *[[each, f"neighbours; the smallest class has {fit.smallest_class:,} training images"] for each in knn],
        *[[each, "its patients cannot be divided, so that the same ones train and test"] for each in chosen],
    ]
    words = ["pretrain", f"dataset={name}", "method=dcl", "recipe=tuned", *size]
    words += [f"epochs={epochs}", f"batch_size={fit.batch_size}", *knn, *chosen]
    if records := found.catalogue.records:
        after = "All methods, and which is for these images"
        which = ["benchmark", f"dataset={name}", f"budget={suggest_budget(len(records))}", *chosen]
    else:
        after = "Then the features, by the run that it names"
        which = ["embed", "run=RUN", f"images={found.folder.root}"]
    more = "More epochs may gain more."
    if fit.image_size >= CONTINUED_FROM:
        given = [*words, "initial_weights=imagenet", *CONTINUED_SIZES, f"epochs={max(1, epochs // 2)}"]
        started = {word.partition("=")[0]: word for word in given}.values()  # a later word replaces one of its key
        more += " From ImageNet's weights, fetched once, half the epochs may gain far more:\n\n"
        more += indent(format_command(*started), "  ")
    return (
        f"What fits:\n\n{indent(format_table(None, reasons), '  ')}\n\n"
        "A first run; with dry_run=true at its end it says how long it will take:\n\n"
        f"{indent(format_command(*words), '  ')}\n\n{more}\n\n"
        f"{after}:\n\n{indent(format_command(*which), '  ')}\n\n"
        f"More about the set: lowres-ssl data dataset={name}"
    )
