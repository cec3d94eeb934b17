"""Probes: score frozen features. One file a probe, found by its name; `base` says what a probe is."""
