"""The optimiser that a method is trained by where none is typed, and the one that is typed."""

import pytest
from in_process import compose_config


@pytest.mark.parametrize(
    ("words", "optimiser", "rate"),
    [
        (["method=dcl", "recipe=tuned"], "adamw", 0.001),
        (["method=vicreg", "recipe=tuned"], "sgd", 0.005),
        (["method=simsiam", "recipe=tuned"], "sgd", 0.1),
        (["method=simsiam", "recipe=tuned", "optimiser=adamw"], "adamw", 0.001),
        (["method=vicreg", "recipe=paper"], "sgd", 0.01),
    ],
)
def test_method_has_its_own_optimiser_unless_one_is_typed(words: list[str], optimiser: str, rate: float) -> None:
    config = compose_config(*words)
    assert (config.optimiser["name"], config.learning_rate) == (optimiser, rate)
