"""Turn folders of images into records, splits and one array. Imports neither torch nor methods."""
