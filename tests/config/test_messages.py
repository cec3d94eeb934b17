"""Keep the wording of what is refused before any image is read, in one snapshot; other tests assert class and key.

`python tests/config/test_messages.py > tests/config/messages.txt` writes it anew.
"""

import errno
import os
import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from lowres_ssl.config.check import read_config, register_schemas
from lowres_ssl.config.command_schemas import SCHEMAS
from lowres_ssl.config.error_messages import describe_error
from lowres_ssl.config.overrides import prepare_overrides

SNAPSHOT = Path(__file__).with_name("messages.txt")
CASES = """\
pretrain method=simcl
pretrain backbone=vit_tiny_patch16_224
pretrain nope=1
pretrain metod=simclr
pretrain viws.grey=0.1
pretrain method.temprature=0.1
pretrain +nope=1
pretrain +probe.typo.k=1
pretrain device=cdua
pretrain split=patients
pretrain epochs=null
pretrain label_fraction=2
pretrain seed=-1
pretrain epochs=0
pretrain batch_size=1
pretrain learning_rate=-1
pretrain warmup_epochs=500
pretrain image_size=16
pretrain image_size=100000
pretrain label_fraction=[]
pretrain label_fraction=[2]
pretrain dataset.root=
pretrain dataset.name=
pretrain dataset.storage_size=orignal
pretrain dataset.grey_range=[9,1]
pretrain output_dir=
pretrain probe=[knn,nope]
pretrain probe.linear.settings_from=nowhere
pretrain probe.linear.settings_from=tuned probe.linear.batch_size=32
pretrain epochs
pretrain seed=1,
pretrain probe=[knn,linear
pretrain epochs=1,2
pretrain label_fraction=0.1,1.0
pretrain +epochs=3
pretrain ~epochs
pretrain method=1
pretrain method=[simclr]
pretrain --mutirun
pretrain --epochs=3
pretrain hydra.run.dir=/tmp/x
pretrain +hydra.callbacks.x._target_=os.system
pretrain hydra/launcher=lsf
pretrain dataset.licence=${oc.env:HOME}
pretrain dataset.licence=${oc.en${oc.decode:v}:HOME}
pretrain dataset.url=https://me:secret@host/x.zip
tables table=paper4
tables datset=breast
runs format=cvs
embed imags=x
init one two
"""


def describe(case: str) -> str:
    """The exit code and the line that a wrong command line gives."""
    command, *words = case.split(" ")
    try:
        read_config(compose(command, prepare_overrides(command, words)), SCHEMAS[command])
    except Exception as error:
        line, code = describe_error(error, command)
        return f"{code} {line}"
    return "0 accepted"


def describe_all() -> dict[str, str]:
    register_schemas("pretrain", "tables", "runs", "embed", "init")
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        return {case: describe(case) for case in CASES.splitlines()}


def test_messages_are_those_of_the_snapshot_each_one_line_without_a_secret() -> None:
    said = describe_all()
    assert said == dict(line.split("\t") for line in SNAPSHOT.read_text(encoding="utf-8").splitlines())
    for case, line in said.items():
        assert line.isprintable(), case
        assert line[:2] == "2 ", case
        assert "secret" not in line


NOT_DETERMINISTIC = (
    "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set "
    "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, or ..."
)
NO_FLOAT = "int too large to convert to float\n    full_key: views.grey\n    object_type=ViewsConfig"


@pytest.mark.parametrize(
    ("error", "code", "wanted"),
    [
        *(
            (OSError(number, os.strerror(number), "outputs/x"), 3, rf"cannot .* outputs/x: {os.strerror(number)}; .*")
            for number in (errno.EIO, errno.ESTALE, errno.EFBIG, errno.ENOSPC, errno.EROFS)
        ),
        (RuntimeError(NOT_DETERMINISTIC), 2, ".* upsample_bilinear2d_backward_out_cuda .*; type deterministic=false"),
        (OverflowError(NO_FLOAT), 2, "views.grey: int too large .*"),
    ],
)
def test_what_is_no_defect_of_ours_is_told_in_a_line(error: Exception, code: int, wanted: str) -> None:
    line, found = describe_error(error, "pretrain")
    assert line is not None
    assert (found, re.fullmatch(wanted, line) is not None) == (code, True), line


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("a shape"), OSError(errno.EBADF, "Bad file")])
def test_defect_of_ours_has_no_line(error: Exception) -> None:
    assert describe_error(error, "pretrain") == (None, 1)


if __name__ == "__main__":
    print("\n".join(f"{case}\t{line}" for case, line in describe_all().items()))
