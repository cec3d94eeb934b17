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

    Holds Hydra's own sweeper instead of extending it: Hydra loads its plugins' modules anew when it looks for plugins,
    and a class that extends one from before is broken by that.
    """

    def __init__(self, max_batch_size: int | None = None, params: dict[str, str] | None = None) -> None:
        self.max_batch_size, self.params = max_batch_size, params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        self.context, self.config = hydra_context, config
        self.basic = BasicSweeper(self.max_batch_size, self.params)
        self.basic.setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def sweep(self, arguments: list[str]) -> Any:
        from hydra._internal.core_plugins.basic_launcher import BasicLauncher

        if isinstance(launcher := self.basic.launcher, BasicLauncher):

            def compose(batch: Sequence[Sequence[str]]) -> None:
                """In place of Hydra's check that the jobs can be composed. Raises what that does."""
                assert self.config is not None
                loader = self.context.config_loader
                composed = {tuple(each): loader.load_sweep_config(self.config, list(each)) for each in batch}
                ready = cast(ConfigLoader, Composed(loader, composed))
                launcher.hydra_context = HydraContext(ready, self.context.callbacks)

            self.basic.validate_batch_is_legal = compose  # type: ignore[method-assign]
        return self.basic.sweep(arguments)


class Composed:
    """A `ConfigLoader` that hands out what it has composed already, each once."""

    def __init__(self, loader: ConfigLoader, composed: dict[tuple[str, ...], DictConfig]) -> None:
        self.loader, self.composed = loader, composed

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        ready = self.composed.pop(tuple(sweep_overrides), None)
        return self.loader.load_sweep_config(master_config, sweep_overrides) if ready is None else ready

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["loader"], name)
