"""Download what scripts/gpu_check.sh installs on a machine without a network: every package but those it has.

    python scripts/gpu_wheels.py wheels --python 3.12 --there torch==2.11.0 torchvision==0.26.0

Run it in the checkout, on a machine with a network; then copy the folder beside the checkout on the other machine and
type `scripts/gpu_check.sh --wheels wheels ...` there. antlr4-python3-runtime, which Hydra needs, has no wheel in the
package index: it is built here from its source, by `pip wheel`. Packages that are there are not downloaded, PyTorch's
own CUDA packages included.
"""

import argparse
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WANTED = ("lowres-ssl[bench]", "pytest", "setuptools", "wheel")
FROM_SOURCE = "antlr4-python3-runtime==4.9.3"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheels go")
    parser.add_argument("--python", default="3.12", help="the other machine's Python")
    parser.add_argument("--glibc", type=int, default=28, metavar="N", help="the other machine's glibc is 2.N or newer")
    there = ["torch==2.11.0", "torchvision==0.26.0"]
    parser.add_argument("--there", nargs="+", default=there, metavar="NAME==VERSION", help="what the other machine has")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    pip("wheel", "--no-deps", "--wheel-dir", given.folder, FROM_SOURCE)
    with tempfile.TemporaryDirectory() as name:
        local = Path(name)  # what pip is to see, and the other machine needs no wheel of
        pip("wheel", "--no-deps", "--wheel-dir", local, ROOT)
        for package in given.there:
            write_empty_wheel(local, *package.split("=="))
        platforms = ["manylinux2014_x86_64", *(f"manylinux_2_{minor}_x86_64" for minor in range(5, given.glibc + 1))]
        target = ["--only-binary=:all:", "--python-version", given.python]
        target += [word for platform in platforms for word in ("--platform", platform)]
        links = ("--find-links", local, "--find-links", given.folder)
        pip("download", "--dest", given.folder, *target, *links, *WANTED, *given.there)
        for file in local.glob("*.whl"):
            (given.folder / file.name).unlink(missing_ok=True)
    files = list(given.folder.glob("*.whl"))
    print(f"{given.folder}: {len(files)} wheels, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB")


def pip(*arguments: object) -> None:
    subprocess.run([sys.executable, "-m", "pip", "--quiet", *map(str, arguments)], check=True)


def write_empty_wheel(folder: Path, package: str, version: str) -> None:
    """Write a wheel with nothing in it and no requirements, for pip to take instead of a package that is there: to pip
    a version with a local part is newer than the same without."""
    version += "+there"
    stem = f"{package.replace('-', '_')}-{version}"
    files = {
        "METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n",
        "WHEEL": "Wheel-Version: 1.0\nGenerator: gpu_wheels\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{stem}-py3-none-any.whl", "w") as wheel:
        for name, text in files.items():
            wheel.writestr(f"{stem}.dist-info/{name}", text)


if __name__ == "__main__":
    main()
