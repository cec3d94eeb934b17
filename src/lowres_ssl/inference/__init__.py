"""Use a trained encoder elsewhere: load, embed, predict, export."""
