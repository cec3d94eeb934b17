"""What the system and PyTorch raise is one line with what to type; what is a defect of ours is none."""

import errno
import os

import pytest
from hydra import compose, initialize_config_module

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
