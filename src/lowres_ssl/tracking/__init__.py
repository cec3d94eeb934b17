"""Send the progress of a run to TensorBoard, MLflow or W&B."""
