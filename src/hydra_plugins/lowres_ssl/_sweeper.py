"""Every combination of what was typed, as Hydra's own sweeper has it, composed once."""

from collections.abc import Sequence
from typing import Any, cast

from hydra.core.config_loader import ConfigLoader
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class Grid(Sweeper):
    """Hydra composes every job before the first one starts, so that a wrong word is told at once, and each again when
    its turn comes. Where the jobs run in this process, each gets what was composed for it before: half of the work
    around a short job.

    It cannot itself extend Hydra's own sweeper: Hydra loads its plugins' modules anew when it looks for plugins, and a
    class that extends one from before is broken by that. So it holds one, made in `setup`.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        class ComposingOnce(BasicSweeper):
            def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
                """In place of Hydra's check that the jobs can be composed."""
                if not isinstance(self.launcher, BasicLauncher):
                    super().validate_batch_is_legal(batch)
                    return
                loader = hydra_context.config_loader
                composed = {tuple(each): loader.load_sweep_config(config, list(each)) for each in batch}
                ready = cast(ConfigLoader, Composed(loader, composed))
                self.launcher.hydra_context = HydraContext(ready, hydra_context.callbacks)

        self.sweeper = ComposingOnce(self.max_batch_size, self.params)
        self.sweeper.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        return self.sweeper.sweep(arguments)


class Composed:
    """A `ConfigLoader` that hands out what it has composed already, each once."""

    def __init__(self, loader: ConfigLoader, composed: dict[tuple[str, ...], DictConfig]) -> None:
        self.loader, self.composed = loader, composed

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        ready = self.composed.pop(tuple(sweep_overrides), None)
        return self.loader.load_sweep_config(master_config, sweep_overrides) if ready is None else ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["loader"], name)
