"""The bare step: the same model, loss, batch, precision and capture, on views that are there already."""

import time

import torch

from lowres_ssl.device import MEMORY_FORMATS
from lowres_ssl.experiment.plan import build_training_setup
from lowres_ssl.train.forward import ForwardPass
from speed.contestants import Case, Epoch, Taken
from speed.experiment import configured, synchronise


def enter(case: Case) -> Epoch:
    plan = build_training_setup(configured(case.overrides))
    training, compute = plan.training, plan.compute
    encoder = plan.encoder.to(compute.device).train()
    plan.method.prepare(encoder)
    method = plan.method.to(compute.device).train()
    layout = MEMORY_FORMATS[case.layout]
    model = torch.nn.ModuleDict({"encoder": encoder, "method": method}).to(memory_format=layout)
    optimiser = training.optimizer.build(model)
    for group in optimiser.param_groups:
        group["lr"] = 1e-4
    forward = ForwardPass(encoder, method, compute, joint=training.joint)
    sizes = [max(2, round(kind.size * case.image_size)) for kind in method.view_kinds()]
    views = tuple(
        torch.rand(case.batch_size, 3, size, size, device=compute.device).contiguous(memory_format=layout)
        for size in sizes
    )
    labels = torch.zeros(case.batch_size, dtype=torch.int64, device=compute.device) if method.takes_labels else None
    forward.prepare(views, labels)

    def epoch(steps: int) -> Taken:
        synchronise(compute.device)
        started = time.perf_counter()
        for _ in range(steps):
            losses, _ = forward(views, labels)
            optimiser.zero_grad()
            losses["loss"].backward()
            optimiser.step()
            method.after_step(encoder, 0.5)
        synchronise(compute.device)
        return Taken(time.perf_counter() - started)

    return epoch
