"""What the system and PyTorch raise is one line with what to type; what is a defect of ours is none."""

import errno
import os

import pytest
from hydra import compose, initialize_config_module
from hydra.errors import HydraException

from lowres_ssl.config.check import register_schemas
from lowres_ssl.config.error_messages import describe_error


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EFBIG", "ENOSPC", "EROFS"])
def test_disk_that_fails_is_named(name: str) -> None:
    number = getattr(errno, name)
    line, code = describe_error(OSError(number, os.strerror(number), "outputs/x"), "pretrain")
    hint = "name another place with output_dir=FOLDER or data_dir=FOLDER"
    assert (line, code) == (f"cannot write or read outputs/x: {os.strerror(number)}; {hint}", 3)


@pytest.mark.parametrize(("command", "place"), [("export", "folder=FOLDER"), ("report", "file=FILE")])
def test_place_that_a_command_writes_to_is_named_by_its_own_key(command: str, place: str) -> None:
    line, _ = describe_error(OSError(errno.EROFS, "Read-only", "x"), command)
    assert line == f"cannot write or read x: Read-only; name another place with {place}"


def test_folder_in_the_place_of_a_file_is_to_be_moved() -> None:
    line, code = describe_error(IsADirectoryError(errno.EISDIR, "Is a directory", "outputs/x"), "pretrain")
    assert line == "cannot write or read outputs/x: Is a directory; a folder is where a file should be: move it away"
    assert code == 3


def test_operation_that_cannot_repeat_its_bytes_is_named() -> None:
    error = RuntimeError(
        "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, or ..."
    )
    line, code = describe_error(error, "pretrain")
    assert line is not None
    assert line.startswith("deterministic=true: upsample_bilinear2d_backward_out_cuda cannot repeat its bytes")
    assert line.endswith("type deterministic=false")
    assert code == 2


def test_number_that_no_float_can_hold_is_told_by_its_key() -> None:
    register_schemas()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"), pytest.raises(OverflowError) as raised:
        compose("pretrain", ["dataset=phantom", f"views.grey={'1' * 400}"])
    assert describe_error(raised.value, "pretrain") == ("views.grey: got a number that is too large", 2)


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("a shape"), OSError(errno.EBADF, "Bad file")])
def test_defect_of_ours_has_no_line(error: Exception) -> None:
    assert describe_error(error, "pretrain") == (None, 1)


@pytest.mark.parametrize(
    ("command", "word", "said"),
    [
        ("pretrain", "epochs:3", "epochs:3: wanted KEY=VALUE; type epochs=3"),
        ("pretrain", "epochs 3", "epochs 3: wanted KEY=VALUE; type epochs=3"),
        ("pretrain", "learning_rate:0.1", "learning_rate:0.1: wanted KEY=VALUE; type learning_rate=0.1"),
        ("pretrain", "data_dir: /a/b", "data_dir: /a/b: wanted KEY=VALUE; type data_dir=/a/b"),
        ("pretrain", "method:", "method:: cannot be read, wanted KEY=VALUE"),
        ("pretrain", "epochs-3", "epochs-3: cannot be read, wanted KEY=VALUE"),
        (
            "pretrain",
            "seed=foo(1)",
            "seed=foo(1): Unknown function 'foo'; "
            "Available: bool,choice,float,glob,int,interval,range,shuffle,sort,str,tag",
        ),
        ("pretrain", "learning_rate=interval(1)", "learning_rate=interval(1): missing a required argument: 'end'"),
        ("pretrain", "hydra.mode=foo", "hydra.mode=foo: wanted one of RUN, MULTIRUN"),
        ("pretrain", "++device=cdua", "++device=cdua: wanted one of auto, cuda, cpu; did you mean ++device=cuda?"),
        ("pretrain", "seed=1,", "seed=1,: cannot be read; type seed=1"),
        ("pretrain", "probe=[knn,linear", "probe=[knn,linear: cannot be read; type probe=[knn,linear]"),
        ("pretrain", "seed={1", "seed={1: cannot be read, wanted KEY=VALUE"),
        ("pretrain", "help", "help: wanted KEY=VALUE; type lowres-ssl pretrain --help"),
        ("pretrain", "\n", "\\n: cannot be read, wanted KEY=VALUE"),
        ("pretrain", "epochs", "epochs: got no value, wanted epochs=VALUE"),
        ("pretrain", "'epochs=3", "'epochs=3: cannot be read, wanted KEY=VALUE"),
        *(
            (
                "pretrain",
                word,
                f"{word}: cannot be read, wanted KEY=VALUE; a value with brackets, commas or quotes in it is typed as "
                "'data_dir=\"VALUE\"'",
            )
            for word in ("data_dir={a", "data_dir==1", "data_dir=a)")
        ),
        ("pretrain", "+epochs=3", "+epochs: there is such a key already; type epochs=VALUE, without +"),
        ("pretrain", "device=[cuda]", "device=[cuda]: wanted one of auto, cuda, cpu; did you mean device=cuda?"),
        ("pretrain", "schedule=1.5", "schedule=1.5: wanted one of constant, cosine"),
        ("pretrain", "seed=0,1", "seed=0,1: got several values; type -m before it for a sweep"),
        ("pretrain", "method=dcl,byol", "method=dcl,byol: got several values; type -m before it for a sweep"),
        *(
            (
                command,
                f"{key}=a,b",
                f"{key}=a,b: got several values; type -m before it for a sweep, or {key}=[a,b] for a list",
            )
            for command, key in [("pretrain", "label_fraction"), ("pretrain", "probe"), ("tune", "learning_rate")]
        ),
    ],
)
def test_word_that_is_no_override_is_told_with_what_to_type(command: str, word: str, said: str) -> None:
    register_schemas()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"), pytest.raises(HydraException) as raised:
        compose(command, ["dataset=phantom", word])
    assert describe_error(raised.value, command) == (said, 2)
