"""No t-SNE, which takes longest: two of the features instead."""

from collections.abc import Iterator

import pytest

from lowres_ssl.reporting.html import page_data


@pytest.fixture(scope="module", autouse=True)
def _without_tsne() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page_data, "compute_tsne", lambda features: features[:, :2].astype(float))
        yield
