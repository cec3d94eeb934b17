"""Encoders used away from their images: loaded, fed a folder, and what their stored probes predict."""
