"""Print what commands ask of the simulated GPU: the table in docs/speed.md."""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from simulation import PHANTOM, Counts, Simulation, build, why_not

COLUMNS = {
    "launches": "launches",
    "graph_launches": "graphs launched",
    "to_gpu": "copies to the GPU",
    "to_host": "copies to the host",
    "waits": "waits of the host",
    "captures": "graphs captured",
}
INDUCTOR = {"SIMULATED_GPU_BACKEND": ""}


def main() -> None:
    if reason := why_not():
        sys.exit(f"no simulated GPU: {reason}")
    with tempfile.TemporaryDirectory() as name:
        build(Path(name))
        simulated = Simulation(Path(name), Path(name))
        print(f"| | {' | '.join(COLUMNS.values())} |\n|---{'|---' * len(COLUMNS)}|")
        pretrain = ("pretrain", "method=simclr", *PHANTOM)
        plain = simulated.run(*pretrain, "compile=never", "evaluate=false")
        show("pretrain evaluate=false", plain.all)
        show("one step of it", plain.step)
        compiled = simulated.run(*pretrain, "compile=always", "evaluate=false", "force=true", **INDUCTOR)
        show("pretrain evaluate=false compile=always", compiled.all)
        show("one step of it", compiled.step)
        run = simulated.simclr
        evaluate = simulated.run("evaluate", run, "device=cuda", "probe=[knn,linear]", "probe.knn.k=5")
        show("evaluate", evaluate.all)
        show("one step of its linear probe", evaluate.probe_step)
        grid = ("batch_size=[16,32,64]", "learning_rate=[0.1,0.01,0.001]", "seeds=3")
        tune = simulated.run("tune", run, "device=cuda", *grid)
        show("tune", tune.all)
        show("one step of its linear probes", tune.probe_step)
        images = Path(name) / "images"
        images.mkdir()
        for number in range(5):
            Image.new("RGB", (40, 40), color=(50 * number, 0, 0)).save(images / f"{number}.png")
        show("embed, 5 images", simulated.run("embed", run, f"images={images}", "device=cuda").all)


def show(title: str, counts: Counts) -> None:
    print(f"| {title} | {' | '.join(f'{counts[name]:,}' for name in COLUMNS)} |", flush=True)


if __name__ == "__main__":
    main()
