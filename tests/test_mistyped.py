"""A filter that nothing can have is refused; one that a file could still make is not."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.errors import ConfigError
from lowres_ssl.ledger import ledger
from lowres_ssl.mistyped import refuse_mistyped
from lowres_ssl.selection import Filters


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(dataset="phantm"), r"dataset=phantm: no stored result .* did you mean dataset=phantom\?$"),
        (Filters(recipe="papr"), r"did you mean recipe=paper\?$"),
        (Filters(probe="kn"), r"did you mean probe=knn\?$"),
        (Filters(split="xyz"), "see what there is with lowres-ssl runs$"),
        (Filters(entry="dlc"), r"did you mean entry=dcl\?$"),
    ],
)
def test_what_nothing_has_is_refused_with_the_nearest(tmp_path: Path, filters: Filters, said: str) -> None:
    empty, _ = ledger(tmp_path)
    refuse_mistyped(filters, empty)
    made_up_run(tmp_path, method="dcl")
    frame, _ = ledger(tmp_path)
    with pytest.raises(ConfigError, match=said):
        refuse_mistyped(filters, frame)


def test_what_is_there_or_could_be_made_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_CONF", str(tmp_path / "conf"))
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "my_cells.yaml").touch()
    made_up_run(tmp_path / "outputs", method="dcl")
    frame, _ = ledger(tmp_path / "outputs")
    for dataset in ("phantom", "breast", "my_cells"):
        refuse_mistyped(Filters(dataset=dataset, recipe="tuned", split="official", entry=["dlc", "d*"]), frame)
