"""The config tree, installed as the package `lowres_ssl.conf` so that Hydra finds it as `pkg://lowres_ssl.conf`."""
