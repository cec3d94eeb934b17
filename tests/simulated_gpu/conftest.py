"""The simulated GPU as a fixture: built once a session; its tests are skipped where it cannot be."""

from pathlib import Path

import pytest
from simulation import PHANTOM, Simulation, build, why_not


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if reason := why_not():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("library")
    build(folder)
    return folder


@pytest.fixture
def simulated(library: Path, tmp_path: Path) -> Simulation:
    """A simulated GPU with an empty folder."""
    return Simulation(library, tmp_path)


@pytest.fixture(scope="session")
def trained(library: Path, tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """The same with a finished, unscored SimCLR run on the phantom in its folder."""
    simulated = Simulation(library, tmp_path_factory.mktemp("trained"))
    simulated.run("pretrain", "method=simclr", *PHANTOM, "evaluate=false")
    return simulated
