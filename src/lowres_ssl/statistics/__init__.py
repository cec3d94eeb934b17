"""Counts in, statements out: intervals, paired tests, calibration, the paper's claims. Knows no run and no torch."""
