"""Probes: score frozen features. One file a probe, found by its name; `base` defines what a probe is."""
