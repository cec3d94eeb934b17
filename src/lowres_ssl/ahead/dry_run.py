"""A plan -> its forecast: the run looked up, its steps counted, the loop timed on this machine. Nothing is decoded."""

from dataclasses import replace
from functools import partial

from lowres_ssl.ahead.forecast import Forecast
from lowres_ssl.ahead.pace import training_seconds
from lowres_ssl.checkpoint import epochs_in
from lowres_ssl.planning.plan import Plan, divide, images_to_train, run_of
from lowres_ssl.planning.preparation import foresee
from lowres_ssl.planning.step import is_compiled


def foretell(plan: Plan) -> Forecast:
    """What running this plan would come to."""
    config = plan.config
    if not plan.method.trains:
        return Forecast(
            f"{config.dataset.name}-{config.method['name']}-s{config.seed}", "nothing to train", 0, 0.0, 0, "", 0
        )
    outline, to_decode = foresee(config, partial(divide, plan))
    run, _ = run_of(plan, outline)
    description = run.read()
    done = config.epochs if description and description["finished"] else min(config.epochs, epochs_in(run.checkpoint))
    state = "not begun" if description is None else f"epoch {done} of {config.epochs}"
    if done == config.epochs:
        return Forecast(run.name, "finished", 0, 0.0, 0, "", 0)
    images = images_to_train(plan, outline.catalogue, outline.split)
    views = plan.training.views_per_epoch(images) * (config.epochs - done)
    weights = sum(value.numel() * value.element_size() for value in plan.encoder.state_dict().values())
    features = 4 * plan.width * len(outline.catalogue.records)
    store = str((outline.catalogue.digest, outline.store_shape))
    resolved = replace(plan, compute=replace(plan.compute, compiled=is_compiled(plan, images)))
    seconds = training_seconds(resolved, outline, done)
    return Forecast(run.name, state, views, seconds, weights + features, store, to_decode)
