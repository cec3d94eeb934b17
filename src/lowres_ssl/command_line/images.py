"""What to type for the images of a stored run: the file of their data set, and what the run had otherwise."""

from collections.abc import Iterator, Mapping
from importlib.resources.abc import Traversable
from typing import Any

from omegaconf import OmegaConf

from lowres_ssl.command_line.mistyped import choice_file
from lowres_ssl.command_line.overrides import PATH_KEYS, TEXT_KEYS
from lowres_ssl.command_line.typed_again import written

GENERAL = ("folder", "csv")  # files for any set; alone they name none
USUAL_KIND = "any"  # what `conf/pretrain.yaml` has where a data set says nothing
KIND = "/images@_global_.images"
# What makes other images of the same folder; with what is meant where a file does not say it.
USUAL = {"subset": None, "unlabelled": None, "skip_unreadable": False, "grey_range": None, "storage_size": None}


def words_for(dataset: str, config: Mapping[str, Any]) -> list[str]:
    """A set that has a file, of ours or of one's own, by its name, any other by its place; then which of the images,
    how they are read, and what kind of picture they are, where the file says another. `config`: as `run.json` has it.
    """
    stored = config.get("dataset", {})
    if dataset not in GENERAL and choice_file("dataset", dataset) is not None:
        choice, words = dataset, [f"dataset={dataset}"]
    else:
        choice = stored.get("source") if stored.get("source") in GENERAL else GENERAL[0]
        words = [f"dataset={choice}", f"dataset.name={dataset}", f"dataset.root={stored.get('root', 'FOLDER')}"]
    said, kind = said_in(choice)
    words += [f"dataset.{word}" for word in differing(stored, said | said_by_recipe(config.get("recipe")))]
    trained_as = config.get("images", {}).get("name", kind)
    return words if trained_as == kind else [*words, f"images={trained_as}"]


def differing(stored: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    """Each key below `dataset` whose value is another than the file's, as it is typed."""
    pairs = [(key, stored.get(key, usual), said.get(key, usual)) for key, usual in USUAL.items()]
    options = said.get("options", {})
    pairs += [(f"options.{key}", value, options.get(key)) for key, value in stored.get("options", {}).items()]
    for key, value, usual in pairs:
        if value != usual:
            plain = isinstance(value, str) and f"dataset.{key}" in PATH_KEYS | TEXT_KEYS  # quoted when they are typed
            yield f"{key}={value if plain and value else written(value)}"


def said_by_recipe(recipe: object) -> dict[str, Any]:
    """What a recipe's file says of the images; it goes before what the data set's says."""
    file = choice_file("recipe", str(recipe))
    said: Any = {} if file is None else OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    return dict(said.get("dataset", {}))


def said_in(choice: str) -> tuple[dict[str, Any], str]:
    """What a data set's file says, with the files that it is made from, and the kind of picture that it chooses."""
    file: Traversable | None = choice_file("dataset", choice)
    if file is None:
        return {}, USUAL_KIND
    own: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    merged: dict[str, Any] = {}
    kind = USUAL_KIND
    for each in own.pop("defaults", []):
        if isinstance(each, str) and each != "_self_":
            below, kind = said_in(each)
            merged |= below
        elif isinstance(each, dict):
            kind = next((str(value) for key, value in each.items() if key.endswith(KIND)), kind)
    options = merged.get("options", {}) | own.get("options", {})
    return merged | own | {"options": options}, kind
