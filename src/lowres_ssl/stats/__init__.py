"""Compute intervals, paired tests, calibration and claims from counts."""
