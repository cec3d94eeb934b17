"""The parts of the loop in `pretrain.py`, each a file: batches, forward pass, optimiser, history, several processes."""
