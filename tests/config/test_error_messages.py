"""What the system and PyTorch raise is one line with what to type; what is a defect of ours is none."""

import errno
import os

import pytest

from lowres_ssl.config.error_messages import describe_error


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EFBIG", "ENOSPC", "EROFS"])
def test_disk_that_fails_is_named(name: str) -> None:
    number = getattr(errno, name)
    line, code = describe_error(OSError(number, os.strerror(number), "outputs/x"), "pretrain")
    assert line is not None
    assert line.startswith(f"cannot write or read outputs/x: {os.strerror(number)}; ")
    assert code == 3


def test_operation_that_cannot_repeat_its_bytes_is_named() -> None:
    error = RuntimeError(
        "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, or ..."
    )
    line, code = describe_error(error, "pretrain")
    assert line is not None
    assert "upsample_bilinear2d_backward_out_cuda" in line
    assert line.endswith("type deterministic=false")
    assert code == 2


def test_number_that_no_float_can_hold_is_told_by_its_key() -> None:
    error = OverflowError("int too large to convert to float\n    full_key: views.grey\n    object_type=ViewsConfig")
    line, code = describe_error(error, "pretrain")
    assert line is not None
    assert line.startswith("views.grey: int too large")
    assert code == 2


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("a shape"), OSError(errno.EBADF, "Bad file")])
def test_defect_of_ours_has_no_line(error: Exception) -> None:
    assert describe_error(error, "pretrain") == (None, 1)
