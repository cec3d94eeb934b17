"""Answer which method suits a set of images within a given time."""
