"""The data layer: folders of images -> records -> a split -> one array. It knows no torch, no method and no config."""
