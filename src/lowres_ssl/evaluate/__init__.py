"""Score a frozen encoder: features once, then the probes."""
