"""From a checked config to what it means: images, encoder, views, method, identity. Nothing is trained here."""
