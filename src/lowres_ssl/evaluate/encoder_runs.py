"""Encoders as runs: what is stored of each, and those that nothing is trained for: baselines and given weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from hydra.core.hydra_config import HydraConfig
from torch import Tensor, nn

from lowres_ssl.config.experiment_schema import WEIGHTS_METHOD, ExperimentConfig, PretrainConfig, to_plain
from lowres_ssl.console import log_info, log_warning, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import PreparedData, load_catalogue, make_configured_split
from lowres_ssl.data.pseudonyms import make_pseudonyms
from lowres_ssl.data.splits import LabelSubset, Split, count_seen_test_images, save_split
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import build_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder
from lowres_ssl.encoders.imagenet import fetch_weights, find_imagenet_url, get_cached_path
from lowres_ssl.encoders.timm_models import fetch_timm_file, get_timm_path, is_timm_name
from lowres_ssl.encoders.weights_file import load_weights, save_tensors
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import CheckpointError, ConfigError, DataError, did_you_mean
from lowres_ssl.evaluate.features import adapt_baseline
from lowres_ssl.io.checksummed_json import Settings
from lowres_ssl.methods.base import list_methods
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.records import RunIdentity, RunOutcome, RunRecord, SplitSummary
from lowres_ssl.runs.run import WEIGHTS_PREFIX, Run, find_run, get_identified_run
from lowres_ssl.runs.run_hash import build_base_identity


@dataclass(frozen=True)
class InitialWeights:
    """Weights from elsewhere: their file, what tables call them, and the run they are of, if any."""

    path: Path
    name: str
    record: RunRecord | None = None

    @classmethod
    def of_file(cls, path: Path, part: str | None) -> Self:
        """The weights in a file, those of a `part` if one was named."""
        return cls(path, path.name if part is None else f"{path.name} ({part})")

    def check_leakage(self, split: Split, catalogue: Catalogue, draws: Sequence[LabelSubset], store_dir: Path) -> None:
        """Raises `ConfigError` if these weights know what the run that they start must not: test images of its split,
        or more labels than are to count."""
        if self.record is None:
            return
        same = self.record.identity.images == catalogue.digest
        seen, reason = 0, "under another split of these images, so it may have seen test images; type that split, or"
        if not same and self.record.config.dataset.name == catalogue.name and self.record.pretrain_on != "all":
            # For example of a set that this one is a part of.
            seen = count_seen_test_images(self.path.parent / "split.json", split, catalogue, store_dir)
            reason = f"on {pluralise(seen, 'test image')} of this split;"
        if seen or (same and self.record.split.digest != split.digest):
            raise ConfigError(f"initial_weights: {self.name} was trained {reason} name another run")
        known = self.record.labels
        if same and known is not None and not all(draw.is_full or draw.covers(known) for draw in draws):
            raise ConfigError(
                f"initial_weights: {self.name} was trained on {known.fraction:g} of the labels (draw {known.number}), "
                "so no smaller or other label_fraction can be scored; type label_fraction=[1.0], or name another run"
            )


ProbeSettings = Mapping[str, Settings]  # by probe
RANDOM_WEIGHTS = "random"  # what `initial_weights` is where nothing is named
IMAGENET_WEIGHTS = "imagenet"  # supervised weights of the backbone
METHOD_PREFIX = "method:"


def resolve_initial_weights(named: str, config: PretrainConfig) -> InitialWeights:
    """Find what `initial_weights=` names: a file, "imagenet", a model of timm, or a finished run by its folder, its
    name, or as "method:dcl" (see `find_sibling_run`). Weights of others are fetched once, into `data_dir`; for
    `dry_run=true` their file may be missing.

    Raises `DataError` where there is none, `CheckpointError` for one that will not do.
    """
    if Path(named).is_file():
        return InitialWeights.of_file(Path(named), config.weights_part)
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
    record = run.read_finished()
    return InitialWeights(run.get_checked_encoder(), record.entry, record)


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


def get_fixed_run(
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
    probe: ProbeSettings,
    *,
    encoder: nn.Module | None = None,
    source: InitialWeights | None = None,
) -> Run:
    """Find or make the run of an encoder that is not trained: a baseline's, or one with the weights of `source`.

    `probe`: the settings of the probes as composed. `encoder`: built already; without it, built from `config`.
    """
    if encoder is None:
        encoder, _ = init_encoder(config)
        if source is not None:
            load_encoder_weights(encoder, load_weights(source.path), str(source.path), config.weights_part)
    identity = build_base_identity(config, material.outline, compute.precision, source.path if source else None)
    kind = "pretrain" if source is None else "evaluate"
    labels = [config.dataset.name, config.method["name"], f"s{config.seed}"]
    run = get_identified_run(Path(config.output_dir), kind, labels, identity)
    with run.lock():
        if config.force and kind == "pretrain":
            run.discard()
        save_run_split(run, config, material)
        if not is_complete_run(run):
            start_run(run, config, material, identity, probe, source)
            adapt_baseline(encoder, config, material, compute)
            save_encoder(encoder.state_dict(), run, config, material)
            run.finish(RunOutcome(0, 0.0, describe_environment(compute.describe())))
    return run


def build_encoder_name(config: ExperimentConfig, source: InitialWeights | None) -> str:
    """What tables call a run: its method, and what makes it another row than that."""
    name = str(config.method["name"])
    if name == WEIGHTS_METHOD and source is not None:
        return f"{WEIGHTS_PREFIX}{source.name}"
    method = build_fixed_encoder(config.method)
    if method is not None:
        return method.row_name(name)
    assert isinstance(config, PretrainConfig), "only pretrain trains"
    patient = " by patient" if config.positives.name == "patient" else ""
    start = "" if source is None else f" from {source.name}"
    frozen = f", {pluralise(config.frozen_stages, 'stage')} frozen" if config.frozen_stages else ""
    return f"{name}{patient}{start}{frozen}"


def is_complete_run(run: Run) -> bool:
    """Whether the run is finished and its encoder as it was written."""
    try:
        record = run.find_record()
        if record is not None and record.outcome is not None:
            run.get_checked_encoder()
            return True
    except CheckpointError as error:
        log_warning(f"{error}")
    return False


def save_run_split(run: Run, config: ExperimentConfig, material: PreparedData) -> None:
    """Write the split down. The run's identity covers its digest, so that it is the same one each time."""
    pseudonyms = make_pseudonyms(material.catalogue.root, Path(config.store_dir)) if config.hash_ids else None
    save_split(material.split, material.catalogue, run.split, pseudonyms)


def start_run(
    run: Run,
    config: ExperimentConfig,
    material: PreparedData,
    identity: RunIdentity,
    probe: ProbeSettings,
    source: InitialWeights | None,
    seen: LabelSubset | None = None,
) -> None:
    """Write down what a run is before anything is computed. `seen`: the labels that its training sees."""
    split, start = material.split, None if source is None else source.record
    pretrain_on = None if start is None else start.pretrain_on
    if identity.is_trained:
        assert isinstance(config, PretrainConfig), "only pretrain trains"
        pretrain_on = "all" if pretrain_on == "all" else config.pretrain_on.name
    record = RunRecord(
        entry=build_encoder_name(config, source),
        identity=identity,
        split=SplitSummary(split.kind, split.seed, split.digest),
        config=config,
        store=material.store.path.name,
        unlabelled_images=len(material.catalogue.unlabelled),
        typed=get_typed_command(),
        probe=probe,
        pretrain_on=pretrain_on,
        labels=seen or (None if start is None else start.labels),
    )
    run.start(record)


def get_typed_command() -> tuple[str, ...]:
    """The command at hand and its words, to type again what it makes; none outside a command."""
    if not HydraConfig.initialized():
        return ()
    hydra = HydraConfig.get()
    return str(hydra.job.config_name), *map(str, hydra.overrides.task)


def save_encoder(
    weights: dict[str, Tensor], run: Run, config: ExperimentConfig, material: PreparedData, path: Path | None = None
) -> None:
    """Write a run's encoder, to `path` if given, with what is needed to use it elsewhere; the same bytes each time."""
    mean, std = get_normalisation(config)
    metadata = {
        "run": run.name,
        "method": config.method["name"],
        "backbone": to_plain(config.backbone),
        "image_size": config.image_size,
        "mean": mean,
        "std": std,
        "data_digest": material.catalogue.digest,
        "split_digest": material.split.digest,
    }
    save_tensors(path or run.encoder(), weights, metadata)


ALL_IMAGES_WARNING = (
    "Pre-trained on all images (pretrain_on=all): the encoder has seen the validation and the test images."
)
