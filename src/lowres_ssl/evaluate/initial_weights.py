"""Find what `initial_weights=` names, and check that it knows nothing that the run which it starts must not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.console import log_info, log_warning, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import load_catalogue, make_configured_split
from lowres_ssl.data.splits import LabelSubset, Split, count_seen_test_images
from lowres_ssl.encoders.imagenet import fetch_weights, find_imagenet_url, get_cached_path
from lowres_ssl.encoders.timm_models import fetch_timm_file, get_timm_path, is_timm_name
from lowres_ssl.encoders.weights_file import load_metadata
from lowres_ssl.errors import CheckpointError, ConfigError, DataError, did_you_mean
from lowres_ssl.io.checksummed_json import hash_file
from lowres_ssl.methods.base import list_methods
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.records import RunRecord
from lowres_ssl.runs.run import RUN_KINDS, Run, find_run

RANDOM_WEIGHTS = "random"  # what `initial_weights` is where nothing is named
IMAGENET_WEIGHTS = "imagenet"  # supervised weights of the backbone
METHOD_PREFIX = "method:"


@dataclass(frozen=True)
class InitialWeights:
    """Weights from elsewhere: their file, what tables call them, and the run they are of, if any. `metadata`: what the
    file says of itself, where it is one of ours."""

    path: Path
    name: str
    run: Run | None = None
    record: RunRecord | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_run(cls, run: Run) -> Self:
        """The encoder of a run. Raises `CheckpointError` if it is not finished, or the encoder damaged."""
        record = run.read_finished()
        return cls(run.get_checked_encoder(), record.entry, run, record)

    @classmethod
    def of_file(cls, path: Path, part: str | None, output_dir: Path) -> Self:
        """The weights in a file, those of a `part` if one was named. A file that a run below `output_dir` wrote, or
        that lies in a run's folder, counts as that run's, and the encoder of a run has the run's name.

        Raises `CheckpointError` for a damaged file.
        """
        name, metadata, record = path.name, load_metadata(path), None
        run = find_run_of_file(path, metadata, output_dir)
        if run is not None:
            try:
                record = run.read()
            except CheckpointError as error:  # the file may be sound all the same
                log_warning(f"{error}")
        if run is not None and record is not None:
            file = path.resolve()
            if file.parent == run.folder.resolve() and file.name in record.encoders:
                run.check_file(file, record)
            is_chosen = record.encoders.get(run.encoder().name) == hash_file(path)
            name = record.entry if is_chosen else f"{path.name} of {record.entry}"
        return cls(path, name if part is None else f"{name} ({part})", run, record, metadata)

    def check_leakage(
        self,
        split: Split,
        catalogue: Catalogue,
        draws: Sequence[LabelSubset],
        store_dir: Path,
        key: str = "initial_weights",
    ) -> None:
        """Raises `ConfigError` if these weights know what the run that they start must not: test images of its split,
        or more labels than are to count. `key`: what they were named by."""
        images, made_under, known = self.metadata.get("data_digest"), self.metadata.get("split_digest"), None
        if self.record is not None:
            images, made_under, known = self.record.identity.images, self.record.split.digest, self.record.labels
        same = images == catalogue.digest
        seen, reason = 0, "under another split of these images, so it may have seen test images; type that split, or"
        if self.run is not None and self.record is not None and not same:
            # For example of a set that this one is a part of.
            if self.record.config.dataset.name == catalogue.name and self.record.pretrain_on != "all":
                seen = count_seen_test_images(self.run.split, split, catalogue, store_dir)
            reason = f"on {pluralise(seen, 'test image')} of this split;"
        if seen or (same and made_under != split.digest):
            raise ConfigError(f"{key}: {self.name} was trained {reason} name another run")
        if same and known is not None and not all(draw.is_full or draw.covers(known) for draw in draws):
            raise ConfigError(
                f"{key}: {self.name} was trained on {known.fraction:g} of the labels (draw {known.number}), "
                "so no smaller or other label_fraction can be scored; type label_fraction=[1.0], or name another run"
            )


def find_run_of_file(path: Path, metadata: Mapping[str, Any], output_dir: Path) -> Run | None:
    """Find the run that a weights file is of: the one below `output_dir` that its metadata name, or the one whose
    folder it lies in; None if there is neither."""
    folder = path.resolve().parent
    named = Path(str(metadata.get("run", folder.name))).name
    below = [output_dir / kind / named for kind in RUN_KINDS]
    places = [folder, *below] if folder.name == named else [*below, folder]
    return next((Run(place) for place in places if (place / "run.json").exists()), None)


def resolve_initial_weights(named: str, config: PretrainConfig) -> InitialWeights:
    """Find what `initial_weights=` names: a file, "imagenet", a model of timm, or a finished run by its folder, its
    name, or as "method:dcl" (see `find_sibling_run`). Pre-trained weights are fetched once, into `data_dir`; for
    `dry_run=true` their file may be missing.

    Raises `DataError` where there is none, `CheckpointError` for one that will not do.
    """
    if Path(named).is_file():
        return InitialWeights.of_file(Path(named), config.weights_part, Path(config.output_dir))
    if named == IMAGENET_WEIGHTS:
        return fetch_unless_dry(config.backbone.model, named, config)
    if named.startswith(METHOD_PREFIX):
        run = find_sibling_run(config, named.removeprefix(METHOD_PREFIX))
    else:
        try:
            run = find_run(Path(config.output_dir), named)
        except DataError as error:
            if is_timm_name(named):
                return fetch_unless_dry(named, named, config)
            several = ",".join(f"'{each}'" for each in named.split(","))
            sweep = f'; for a sweep over several type -m "initial_weights={several}"' if "," in named else ""
            raise DataError(
                f"initial_weights={named}: neither a file, a run, imagenet, nor a model of timm; {error}{sweep}"
            ) from None
    return InitialWeights.of_run(run)


def fetch_unless_dry(model: str | None, named: str, config: PretrainConfig) -> InitialWeights:
    """Have the weights of timm's `model` fetched, None: torchvision's of the backbone; `dry_run=true` does without them
    where they are missing, with a line on it."""
    cache = Path(config.data_dir) / "weights"
    if model is not None:
        path, fetch = get_timm_path(model, cache), partial(fetch_timm_file, model, cache)
    else:
        url = find_imagenet_url(config.backbone.name, "initial_weights")
        path, fetch = get_cached_path(url, cache), partial(fetch_weights, url, cache, "initial_weights")
    if config.dry_run and not path.exists():
        log_info(f"initial_weights={named}: would be fetched into {path}; the run gets its name then")
    else:
        fetch()
    return InitialWeights(path, named)


def find_sibling_run(config: PretrainConfig, method: str) -> Run:
    """The one finished run of `method` that shares data set, split, recipe, encoder, image size, batch size and seed
    with `config`. Raises `CheckpointError` if there is none, or several (as of other epochs); `ConfigError` if there is
    no such method.

    What `split=auto` comes to depends on the images, so they are looked at where there are several. A single run of
    another split is refused later, see `InitialWeights.check_leakage`.
    """
    shared: dict[str, object] = {  # by the key to type, which is a column of the index
        "dataset": config.dataset.name,
        "recipe": config.recipe,
        "backbone": config.backbone.title,
        "image_size": config.image_size,
        "batch_size": config.batch_size,
        "seed": config.seed,
        "split_seed": config.split_seed,
        "pretrain_on": config.pretrain_on.name,
    }
    if config.split.name != "auto":
        shared["split"] = config.split.name
    frame, problems = read_index(Path(config.output_dir))
    for problem in problems:
        log_warning(problem)
    fits = (frame["state"] == "finished") & (frame["entry"] == method)
    for key, value in shared.items():
        fits &= (frame[key] == value).fillna(False)
    if frame["run"][fits].nunique() > 1 and config.split.name == "auto":
        split = make_configured_split(config, load_catalogue(config.dataset, Path(config.store_dir)))
        fits &= frame["split_digest"] == split.digest
    found = sorted(set(frame["run"][fits]))
    if len(found) == 1:
        return find_run(Path(config.output_dir), found[0])
    if found:
        raise CheckpointError(
            f"initial_weights={METHOD_PREFIX}{method}: several runs would do ({', '.join(found)}); type the name of one"
        )
    if method.partition(" ")[0] not in (known := list_methods()):
        hint = did_you_mean(method, known, f"initial_weights={METHOD_PREFIX}{{}}")
        raise ConfigError(
            f"initial_weights={METHOD_PREFIX}{method}: wanted a method after the colon, one of {', '.join(known)}{hint}"
        )
    typed = ", ".join(f"{key}={value}" for key, value in shared.items())
    raise CheckpointError(
        f"initial_weights={METHOD_PREFIX}{method}: no finished run of it with {typed}; type lowres-ssl pretrain "
        f"method={method} with these first"
    )
