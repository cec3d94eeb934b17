"""Read a word from the id of an image, such as its patient, with a regular expression."""

import re

from lowres_ssl.errors import ConfigError


class IdPattern:
    """Search an id, such as `tumour/p12_3.png`; the word is the pattern's group named `group`, else its first one."""

    def __init__(self, key: str, pattern: str) -> None:
        """`key`: what the user types to set it. Raises `ConfigError` for what is no pattern with a group."""
        self.typed = f"dataset.options.{key}={pattern}"
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{self.typed}: not a regular expression ({error}); try '([^/_]+)_'") from error
        if not self.pattern.groups:
            what = "class" if key == "label_pattern" else "patient"
            raise ConfigError(f"{self.typed}: got no group, wanted one around the {what}'s name; try '([^/_]+)_'")

    def search(self, id: str) -> str | None:
        match = self.pattern.search(id)
        return match and (match["group"] if "group" in match.re.groupindex else match[1])

    def check_fits(self, ids: list[str]) -> None:
        """Raise `ConfigError` for a pattern that fits none of the images."""
        if ids and all(self.search(id) is None for id in ids):
            raise ConfigError(
                f"{self.typed}: fits none of the {len(ids)} images; wanted a pattern for ids like {ids[0]}"
            )
