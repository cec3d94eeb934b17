"""Run `lowres-ssl data`: list the data sets; fetch, verify, divide and prepare one of them."""

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import DataConfig
from lowres_ssl.data.dataset_tables import print_dataset, print_datasets
from lowres_ssl.errors import ConfigError


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, DataConfig)
    if config.dataset is None:
        if config.fetch or config.prepare:
            raise ConfigError("which set? `lowres-ssl data` lists them; type dataset=NAME")
        print_datasets(config.data_dir)
    else:
        print_dataset(config, config.dataset)
