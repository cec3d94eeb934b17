"""What the speed claims are measured with; `docs/benchmarks.md` has the figures. One command each, from the root:

    python -m benchmarks.pretrain    views a second: ours, the bare step, Lightly, a plain loop
    python -m benchmarks.side        the same of several trainings side by side
    python -m benchmarks.schedule    time to the same validation accuracy, with small images first and without
    python -m benchmarks.evaluate    images to scores, against a backbone that is asked again every probe epoch
    python -m benchmarks.tune        the search of the linear evaluation's settings, against one head at a time
    python -m benchmarks.prepare     images a second into the store, and opening it
    python -m benchmarks.startup     what the shell waits for
    python -m benchmarks.power       how often a benchmark names the better method, in simulations
    python -m benchmarks.scale       time and memory against the number of images and the batch size
    python -m benchmarks.intervals   no speed: how often intervals and tests err, by simulation (docs/statistics.md)

Each prints a Markdown table, those of speed the machine it was measured on. Run these on an idle machine. `pip install
'.[bench]'` brings the peers; the package itself never imports anything from here.
"""
