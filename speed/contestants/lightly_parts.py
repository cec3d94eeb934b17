"""The same method built of Lightly's transform, loss and heads, as its documentation puts them together: fp32, two
forward passes, a DataLoader. `tuned` adds by hand what its examples leave out: bf16 autocast and channels_last."""

import time

import torch
from lightly.loss import DCLLoss, NegativeCosineSimilarity, NTXentLoss, VICRegLoss
from lightly.models.modules.heads import (
    SimCLRProjectionHead,
    SimSiamPredictionHead,
    SimSiamProjectionHead,
    VICRegProjectionHead,
)
from lightly.transforms import SimCLRTransform, SimSiamTransform, VICRegTransform
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import models

from speed.contestants import Case, Epoch, Taken
from speed.contestants.files import Files
from speed.experiment import device_of, images_of, synchronise

LOSSES = {"simclr": NTXentLoss, "dcl": DCLLoss, "simsiam": NegativeCosineSimilarity, "vicreg": VICRegLoss}
TRANSFORMS = {"simsiam": SimSiamTransform, "vicreg": VICRegTransform}


class Model(nn.Module):
    """Backbone, heads of the widths that ours has by default, and loss."""

    def __init__(self, method: str, backbone: str) -> None:
        super().__init__()
        self.network: models.ResNet = getattr(models, backbone)()
        width = self.network.fc.in_features
        self.network.fc = nn.Identity()
        self.prediction_head: nn.Module = nn.Identity()
        self.criterion: nn.Module = LOSSES[method]()
        match method:
            case "simclr" | "dcl":
                self.projection_head: nn.Module = SimCLRProjectionHead(width, 512, 128)
            case "simsiam":
                self.projection_head = SimSiamProjectionHead(width, 2048, 512)
                self.prediction_head = SimSiamPredictionHead(512, 128, 512)
            case "vicreg":
                self.projection_head = VICRegProjectionHead(width, 4096, 4096, num_layers=2)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.projection_head(self.network(images))
        return embedding, self.prediction_head(embedding)

    def compute_loss(self, first: Tensor, second: Tensor, *, tuned: bool = False) -> Tensor:
        """tuned: in bf16."""
        with torch.autocast(first.device.type, dtype=torch.bfloat16, enabled=tuned):
            (z1, p1), (z2, p2) = self(first), self(second)
        z1, z2, p1, p2 = z1.float(), z2.float(), p1.float(), p2.float()
        if isinstance(self.criterion, NegativeCosineSimilarity):
            return 0.5 * (self.criterion(z1.detach(), p2) + self.criterion(z2.detach(), p1))
        return self.criterion(z1, z2)


def enter(case: Case, *, tuned: bool = False) -> Epoch:
    material = images_of(case.overrides)[1]
    device = device_of(case.device)
    model = Model(case.method, case.backbone).to(device).train()
    if tuned:
        model = model.to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    files = Files(material, TRANSFORMS.get(case.method, SimCLRTransform)(input_size=case.image_size))
    loader = DataLoader(
        files,
        batch_size=case.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=case.workers,
        persistent_workers=case.workers > 0,
        pin_memory=device.type == "cuda",
    )

    def epoch(steps: int) -> Taken:
        files.length = steps * case.batch_size
        started = time.perf_counter()
        for first, second in loader:
            first, second = first.to(device, non_blocking=True), second.to(device, non_blocking=True)
            if tuned:
                first, second = (view.to(memory_format=torch.channels_last) for view in (first, second))
            model.compute_loss(first, second, tuned=tuned).backward()
            optimiser.step()
            optimiser.zero_grad()
        synchronise(device)
        return Taken(time.perf_counter() - started)

    return epoch
