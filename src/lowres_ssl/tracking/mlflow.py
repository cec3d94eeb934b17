"""Send runs to MLflow: to a store below the outputs, or to a tracking server by its address.

Only its client is used: the functions that keep an active run also record user, host, program and git commit.
"""

import logging
import os
import shlex
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from lowres_ssl.config.overrides import URL_SECRET
from lowres_ssl.errors import ConfigError
from lowres_ssl.io.locks import lock
from lowres_ssl.tracking import Pixels, TrackedRun, Tracker

MAX_VALUE_LENGTH = 500  # letters: what every store takes
MAX_BATCH_PARAMS = 100


class MLflowTracker(Tracker):
    """uri: a tracking server or store; None for one below the outputs. experiment: what lists the runs. images:
    whether it receives views of training images. A resumed run keeps what it has there already."""

    module = "mlflow"

    def __init__(self, *, uri: str | None, experiment: str, images: bool) -> None:
        if uri is not None and URL_SECRET.search(uri):
            raise ConfigError(
                "tracker.uri: got an address with a user name, a password or a token, which every run would name; set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        self.uri, self.experiment, self.images = uri, experiment, images
        self.client: Any = None
        self.run_id = ""
        self.entities: Any = None

    def begin(self, run: TrackedRun) -> tuple[str, int]:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # what is used of it is not reported to its makers
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")  # of 7, with pauses of up to a minute
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")  # of 120 seconds
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        self.entities = import_module("mlflow.entities")
        if self.uri is None:
            store, artifacts = run.folder.resolve() / "mlflow.db", (run.folder / "artifacts").resolve()
            self.uri = f"sqlite:///{store}"
            with lock(store, "MLflow's store"):  # the jobs of a sweep begin at once, and each would make its tables
                number = self.experiment_number(artifacts.as_uri())
        else:
            number = self.experiment_number(None)
        there = self.find_begun(run.known_as)
        if there is not None:
            self.run_id = there.info.run_id
            self.client.set_terminated(self.run_id, "RUNNING")
            key = next((key for key in there.data.metrics if key.startswith("train/")), None)
            points = [] if key is None else self.client.get_metric_history(self.run_id, key)
            return self.run_id, max((point.step for point in points), default=0)
        self.run_id = self.client.create_run(number, run_name=run.name).info.run_id
        params = [self.entities.Param(key, str(value)[:MAX_VALUE_LENGTH]) for key, value in run.settings.items()]
        for start in range(0, len(params), MAX_BATCH_PARAMS):
            self.client.log_batch(self.run_id, params=params[start : start + MAX_BATCH_PARAMS])
        return self.run_id, 0

    def experiment_number(self, artifacts: str | None) -> str:
        """Connect to the store; find or make the experiment. `artifacts`: the folder of its pictures, None for the
        server's own."""
        self.client = import_module("mlflow").MlflowClient(self.uri)
        there = self.client.get_experiment_by_name(self.experiment)
        if there is None:
            try:
                return str(self.client.create_experiment(self.experiment, artifact_location=artifacts))
            except import_module("mlflow.exceptions").MlflowException:  # another run was faster, or there is no server
                there = self.client.get_experiment_by_name(self.experiment)
                if there is None:
                    raise
        return str(there.experiment_id)

    def find_begun(self, known_as: str | None) -> Any:
        """The run that was begun before, unless somebody has deleted it."""
        if known_as is None:
            return None
        try:
            run = self.client.get_run(known_as)
        except import_module("mlflow.exceptions").MlflowException:
            return None
        return run if run.info.lifecycle_stage == "active" else None

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        now = int(1000 * time.time())
        points = [self.entities.Metric(key, float(value), now, epoch) for key, value in values.items()]
        self.client.log_batch(self.run_id, metrics=points)

    def scores(self, values: Mapping[str, float], epoch: int) -> None:
        there = self.client.get_run(self.run_id).data.metrics
        new = {key: value for key, value in values.items() if there.get(key) != value}
        if new:
            self.numbers(new, epoch)

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        image = import_module("PIL.Image").fromarray(pixels)
        self.client.log_image(self.run_id, image, artifact_file=f"{name}.png")

    def end(self, finished: bool) -> str:
        self.client.set_terminated(self.run_id, "FINISHED" if finished else "KILLED")
        uri = str(self.uri)
        return f"MLflow: {uri if uri.startswith('http') else f'mlflow ui --backend-store-uri {shlex.quote(uri)}'}"
