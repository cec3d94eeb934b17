"""What the system and PyTorch raise is one line with what to type; what is a defect of ours is none."""

import errno
import os

import pytest

from lowres_ssl.command_line.failures import describe


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "EFBIG", "ENOSPC", "EROFS"])
def test_disk_that_fails_is_named(name: str) -> None:
    number = getattr(errno, name)
    line, code = describe(OSError(number, os.strerror(number), "outputs/x"), "pretrain")
    hint = "name another place with output_dir=FOLDER or data_dir=FOLDER"
    assert (line, code) == (f"cannot write or read outputs/x: {os.strerror(number)}; {hint}", 3)


def test_folder_in_the_place_of_a_file_is_to_be_moved() -> None:
    line, code = describe(IsADirectoryError(errno.EISDIR, "Is a directory", "outputs/x"), "pretrain")
    assert line == "cannot write or read outputs/x: Is a directory; a folder is where a file should be: move it away"
    assert code == 3


def test_operation_that_cannot_repeat_its_bytes_is_named() -> None:
    error = RuntimeError(
        "upsample_bilinear2d_backward_out_cuda does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this operation, or ..."
    )
    line, code = describe(error, "pretrain")
    assert line is not None
    assert line.startswith("deterministic=true: upsample_bilinear2d_backward_out_cuda cannot repeat its bytes")
    assert line.endswith("type deterministic=false")
    assert code == 2


@pytest.mark.parametrize("error", [KeyError("a"), RuntimeError("a shape"), OSError(errno.EBADF, "Bad file")])
def test_defect_of_ours_has_no_line(error: Exception) -> None:
    assert describe(error, "pretrain") == (None, 1)
