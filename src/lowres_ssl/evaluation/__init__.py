"""From a frozen encoder to stored scores: features once, then the probes, for one run or for many."""
