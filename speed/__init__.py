"""What the speed claims are measured with; `docs/speed.md` has the figures. One command each, from the root:

    python -m speed.pretrain    views a second: ours, the bare step, Lightly, a plain loop
    python -m speed.side        the same of several trainings side by side
    python -m speed.schedule    time to the same validation accuracy, with small images first and without
    python -m speed.evaluate    images to scores, against a backbone that is asked again every probe epoch
    python -m speed.tune        the search of the linear evaluation's settings, against one head at a time
    python -m speed.prepare     images a second into the store, and opening it
    python -m speed.startup     what the shell waits for
    python -m speed.power       how often a benchmark names the better method, in simulations
    python -m speed.scale       time and memory against the number of images and the batch size
    python -m speed.intervals   no speed: how often intervals and tests err, by simulation (docs/statistics.md)

Each prints a Markdown table, those of speed the machine it was measured on. Run these on an idle machine. `pip install
'.[bench]'` brings the peers; the package itself never imports anything from here.
"""
