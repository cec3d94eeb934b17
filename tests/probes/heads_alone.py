"""A head by PyTorch's own layers, trained alone in the plainest way: what heads side by side are measured against."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lowres_ssl.probes.base import Features


def as_pytorch_has_it(weights: Mapping[str, Tensor], place: int) -> nn.Sequential:
    """One of `BatchedMLP`, from their `state_dict`, in evaluation mode."""
    own = {name: values[place] for name, values in weights.items()}
    (features, hidden), classes = own["first"].shape, len(own["last_bias"])
    head = nn.Sequential(
        nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(), nn.Linear(hidden, classes)
    )
    state = {
        "0.weight": own["first"].T,
        "0.bias": own["first_bias"],
        "1.weight": own["scale"],
        "1.bias": own["shift"],
        "1.running_mean": own["mean"],
        "1.running_var": own["variance"],
        "1.num_batches_tracked": torch.tensor(0),
        "3.weight": own["last"].T,
        "3.bias": own["last_bias"],
    }
    head.load_state_dict(state)
    return head.eval()


def trained_alone(
    head: nn.Sequential, features: Features, generator: torch.Generator, *, rate: float, batch_size: int, epochs: int
) -> list[tuple[float, float]]:
    """Train with Adam, no schedule; validation accuracy and loss after each epoch. `generator` draws the orders."""
    optimiser = torch.optim.Adam(head.parameters(), lr=rate)
    after = []
    for _ in range(epochs):
        order = torch.randperm(len(features.train), generator=generator)
        head.train()
        for rows in order.split(batch_size):
            optimiser.zero_grad()
            F.cross_entropy(head(features.train[rows]), features.train_labels[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            scores = head.eval()(features.validation)
        accuracy = (scores.argmax(dim=1) == features.validation_labels).float().mean().item()
        after.append((accuracy, F.cross_entropy(scores, features.validation_labels).item()))
    return after
