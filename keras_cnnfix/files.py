"""Model files: Keras's own, and those of Keras 2 that Keras 3 refuses."""

import contextlib
import json
import math
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import keras

from keras_cnnfix.typing import FilePath

# Keras 2.8 to 2.13 wrote `groups` for every convolution; Keras 3 does not take it for these.
UNGROUPED = (
    "Conv1DTranspose",
    "Conv2DTranspose",
    "Conv3DTranspose",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "SeparableConv1D",
    "SeparableConv2D",
)
LARGEST_CONFIG = 2**26  # bytes
# Keras stores weights as they are; bytes of an archive's part for each of its own.
MOST_PACKED = 100
# A layer has at least as many weights as one of these says, or as the product of a list.
SIZES = ("filters", "units", "kernel_size", "input_dim", "tile_size")
MOST_UNSTORED = 2**26  # weights, of layers that are saved before they have any
# Keras before 3.11.3 runs the lambdas of an `.h5` file in safe mode, too (CVE-2025-9905), and any
# function of its own that a config names: downloads, settings (CVE-2025-8747, CVE-2025-9906).
NEEDS_OWN_CHECK = tuple(map(int, keras.__version__.split(".")[:2])) < (3, 12)
CODE = {"class_name": "__lambda__", "function_type": "lambda"}
NO_PARTS = ("keras.utils", "keras.saving", "keras.config", "keras.datasets")


def load_model(
    path: FilePath,
    custom_objects: dict[str, Any] | None = None,
    compile: bool = True,
    safe_mode: bool = True,
) -> keras.Model:
    """Loads a model as `keras.saving.load_model`, and files of Keras 2 that it refuses.

    These are transposed, depthwise and separable convolutions with `groups=1`, as Keras 2.8 to 2.13
    wrote them (`Unrecognized keyword arguments passed to Conv2DTranspose: {'groups': 1}`), and
    Sequential models of Keras 2.0, whose config is a list. The file is left as it is.

    Args:
        path: A `.keras` or `.h5` file.
        custom_objects, compile, safe_mode: As for `keras.saving.load_model`. Safe mode refuses what
            would run code of the file. Before Keras 3.12 it has holes (some are closed here): do
            not load files of strangers there.

    Returns:
        A `keras.Model`.

    Raises:
        ValueError: The config of a `.keras` file asks for far more weights than the file holds, or
            it is packed so that it would fill the memory.
        Exception: As `keras.saving.load_model` raises it.

    Example:
        >>> model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(2, 3)])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save(folder + "/model.keras")
        ...     load_model(folder + "/model.keras").output_shape
        (None, 2, 2, 2)
    """
    settings = {"custom_objects": custom_objects, "compile": compile, "safe_mode": safe_mode}
    _check_archive(path)
    if NEEDS_OWN_CHECK and safe_mode and Path(path).is_file():
        _check_code(path, _config_of(path))
    try:
        return keras.saving.load_model(path, **settings)
    except Exception:
        if not Path(path).is_file():
            raise
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / Path(path).name
            if not _mended(path, copy):
                raise
            return keras.saving.load_model(copy, **settings)


@contextlib.contextmanager
def written_at_once(path: FilePath) -> Iterator[Path]:
    """A path to write to, that becomes `path` when all is written, and nothing if it fails."""
    path = Path(path)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _check_archive(path: FilePath) -> None:
    """Raises a ValueError for an archive that would fill the memory when it is loaded."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            is_config = part.filename.endswith(".json")
            packed = part.file_size > MOST_PACKED * part.compress_size
            if part.file_size > LARGEST_CONFIG and (is_config or packed):
                raise ValueError(
                    f"load_model: {part.filename!r} of {path} must be no more than "
                    f"{LARGEST_CONFIG} bytes, or less packed. Received: {part.file_size}, of "
                    f"{part.compress_size} in the file."
                )
        stored = sum(part.file_size for part in archive.infolist())
    _check_sizes(path, _config_of(path), max(stored, MOST_UNSTORED))


def _check_sizes(path: FilePath, config: Any, most: int) -> None:
    """Raises a ValueError where a config says that a layer has more weights than `most`."""
    if not isinstance(config, dict | list):
        return
    for key, value in config.items() if isinstance(config, dict) else enumerate(config):
        numbers = value if isinstance(value, list) else [value]
        if key in SIZES and all(type(n) is int for n in numbers) and math.prod(numbers) > most:
            raise ValueError(
                f"load_model: `{key}` of a layer must be no more than the weights that {path} "
                f"holds, {most} at most. Received: {key}={value}."
            )
        _check_sizes(path, value, most)


def _config_of(path: FilePath) -> Any:
    """The config that a file holds, None where it holds none."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            held = "config.json" in archive.namelist()
            return json.loads(archive.read("config.json")) if held else None
    if not h5py.is_hdf5(path):
        return None
    with h5py.File(path) as file:
        text = file.attrs.get("model_config")
        return None if text is None else json.loads(text)


def _check_code(path: FilePath, config: Any) -> None:
    """Raises a ValueError where a config holds code, or names what is no part of a model."""
    if isinstance(config, list):
        for part in config:
            _check_code(path, part)
    if not isinstance(config, dict):
        return
    if any(config.get(key) == value for key, value in CODE.items()):
        raise ValueError(
            f"load_model: {path} must hold no code (a lambda). Received: {config!r:.100}. Only if "
            f"you trust where it is from: safe_mode=False runs it."
        )
    module = str(config.get("module"))
    if "class_name" in config and module.startswith(NO_PARTS):
        raise ValueError(
            f"load_model: {path} must name parts of a model alone. Received: {config!r:.100}."
        )
    for part in config.values():
        _check_code(path, part)


def _mended(path: FilePath, copy: Path) -> bool:
    """Whether the config of a file could be mended; then `copy` is the file with such a config."""
    old = _config_of(path)
    new = _as_keras_3(old)
    if new == old:
        return False
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as out:
            for name in archive.namelist():
                if name == "config.json":
                    out.writestr(name, json.dumps(new))
                else:
                    with archive.open(name) as part, out.open(name, "w") as target:
                        shutil.copyfileobj(part, target)
        return True
    shutil.copyfile(path, copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["model_config"] = json.dumps(new)
    return True


def _as_keras_3(config: Any) -> Any:
    """The config of Keras 2 as Keras 3 takes it, at every depth."""
    if isinstance(config, list):
        return [_as_keras_3(part) for part in config]
    if not isinstance(config, dict):
        return config
    config = {key: _as_keras_3(value) for key, value in config.items()}
    inner = config.get("config")
    name = config.get("class_name")
    if name in UNGROUPED and isinstance(inner, dict) and inner.get("groups") == 1:
        del inner["groups"]
    if name == "Sequential" and isinstance(inner, list):
        first = inner[0].get("config", {}) if inner and isinstance(inner[0], dict) else {}
        if "batch_input_shape" in first:
            shape = {"batch_input_shape": first.pop("batch_input_shape"), "name": "input"}
            inner = [{"class_name": "InputLayer", "config": shape}, *inner]
        config["config"] = {"name": "sequential", "layers": inner}
    return config
