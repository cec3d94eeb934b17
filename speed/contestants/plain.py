"""A plain loop, as code released with a paper is apt to have it: PIL transforms one by one, a DataLoader without
workers, a forward pass a view, fp32."""

import time

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import models, transforms

from speed.contestants import Case, Epoch, Taken
from speed.contestants.files import Files
from speed.experiment import device_of, images_of, synchronise

TEMPERATURE = 0.5


def enter(case: Case) -> Epoch:
    if case.method != "simclr":
        raise ValueError(f"the plain loop has SimCLR alone, got {case.method}")
    material = images_of(case.overrides)[1]
    device = device_of(case.device)
    one_view = transforms.Compose(
        [
            transforms.RandomResizedCrop(case.image_size, scale=(0.08, 1.0)),
            transforms.RandomHorizontalFlip(),
            transforms.RandomApply([transforms.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
        ]
    )

    def two_views(image: Image.Image) -> list[Tensor]:
        return [one_view(image), one_view(image)]

    encoder = getattr(models, case.backbone)()
    width = encoder.fc.in_features
    encoder.fc = nn.Sequential(nn.Linear(width, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 128))
    encoder.to(device).train()
    optimiser = torch.optim.SGD(encoder.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-4)
    files = Files(material, two_views)
    loader = DataLoader(files, batch_size=case.batch_size, shuffle=True, drop_last=True, num_workers=0)

    def epoch(steps: int) -> Taken:
        files.length = steps * case.batch_size
        started = time.perf_counter()
        for first, second in loader:
            embeddings = torch.cat([encoder(first.to(device)), encoder(second.to(device))])
            embeddings = F.normalize(embeddings, dim=1)
            similarities = embeddings @ embeddings.T / TEMPERATURE
            similarities = similarities.masked_fill(torch.eye(len(embeddings), dtype=torch.bool, device=device), -1e9)
            partners = torch.arange(len(embeddings), device=device).roll(len(first))
            loss = F.cross_entropy(similarities, partners)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        synchronise(device)
        return Taken(time.perf_counter() - started)

    return epoch
