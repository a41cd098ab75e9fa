"""A model file as a model of MLflow: with its signature, to be loaded and served by ``mlflow.pyfunc``.

It is the file that ``nodewise train`` wrote, as it is, beside ``MLmodel``, which says what goes in and comes out, and
that :mod:`nodewise.tracking.loader` reads it. There is no pickle in it.
"""

from __future__ import annotations

import platform
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from nodewise.core.files import sha256_of
from nodewise.specs.run import RunRecord
from nodewise.tracking.facts import ACCURACY, FINGERPRINT, MODEL_FILE, RUN_ID, SHA256, fingerprint_of
from nodewise.training.model_file import ModelInfo, read_model_info

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.models import ModelSignature

__all__ = ["log_model", "signature_of"]

_NAME = "model"
_LOADER = "nodewise.tracking.loader"


def log_model(client: MlflowClient, mlflow_run: Run, run: RunRecord, path: Path) -> None:
    """Store the model that a run has trained as that run's.

    Raises:
        InputError, CorruptFileError: The file is missing, or no model.
        MlflowException: It could not be stored.
    """
    from mlflow.entities import LoggedModelOutput

    info = read_model_info(path)
    tags = {RUN_ID: run.run_id, SHA256: sha256_of(path), FINGERPRINT: fingerprint_of(run)}
    if run.accuracy is not None:
        tags[ACCURACY] = repr(run.accuracy)
    logged = client.create_logged_model(
        mlflow_run.info.experiment_id,
        name=_NAME,
        source_run_id=mlflow_run.info.run_id,
        tags={name: value for name, value in tags.items() if value},
        params={"model": info.model},
        model_type="classifier",
    )
    with tempfile.TemporaryDirectory(prefix="nodewise-model-") as folder:
        _write_folder(Path(folder), path, info, model_id=logged.model_id, mlflow_run_id=mlflow_run.info.run_id)
        client.log_model_artifacts(logged.model_id, folder)
    client.finalize_logged_model(logged.model_id, "READY")
    client.log_outputs(mlflow_run.info.run_id, [LoggedModelOutput(logged.model_id, 0)])


def signature_of(info: ModelInfo) -> ModelSignature:
    """In: uint8 images, shape (n, height, width, channels). Out: class name and its probability, a row per image."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema, TensorSpec

    channels, height, width = info.image_shape
    return ModelSignature(
        inputs=Schema([TensorSpec(np.dtype(np.uint8), (-1, height, width, channels))]),
        outputs=Schema([ColSpec(DataType.string, "predicted"), ColSpec(DataType.double, "probability")]),
    )


def _write_folder(folder: Path, path: Path, info: ModelInfo, *, model_id: str, mlflow_run_id: str) -> None:
    """What ``mlflow.pyfunc.save_model`` would write, which spends half a second asking pip, and warns."""
    import mlflow.pyfunc
    import yaml
    from mlflow.models import Model

    stored = folder / MODEL_FILE
    stored.parent.mkdir()
    shutil.copyfile(path, stored)
    # Without the part that names a build (2.13.0+cpu), which no public index has.
    packages = {"nodewise[mlflow,torch]": "nodewise", "safetensors": "safetensors", "torch": "torch"}
    requirements = [f"{wanted}=={version(package).partition('+')[0]}" for wanted, package in packages.items()]
    (folder / "requirements.txt").write_text("\n".join(requirements) + "\n")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(yaml.safe_dump(environment, sort_keys=False))
    model = Model(artifact_path=_NAME, run_id=mlflow_run_id, model_id=model_id, signature=signature_of(info))
    mlflow.pyfunc.add_to_model(model, loader_module=_LOADER, data=MODEL_FILE, python_env="python_env.yaml")
    model.save(str(folder / "MLmodel"))
