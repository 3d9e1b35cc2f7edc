"""The tables of docs/export.md: what becomes of each layer in each format, as it is run.

    KERAS_BACKEND=torch PYTHONPATH=examples python tests/export/table.py

writes this backend's table anew; `test_table.py` holds each cell of it to what is run.
"""

import re
import tempfile
from pathlib import Path
from types import SimpleNamespace

import keras
import numpy as np
from keras import layers

import export
import keras_cnnfix as kc

BACKEND = keras.backend.backend()
PAGE = Path(__file__).parents[2] / "docs" / "export.md"
SIZES = [(16, 16), (24, 32)]  # The second for files that take any.
LIMIT = 1e-5  # of the largest value

# The same network of Keras's own layers, to compare the error of 8 bits with.
STOCK = SimpleNamespace(
    AdaptiveAntiAlias=lambda **_: layers.AveragePooling2D(2),
    BlurPool2D=lambda: layers.AveragePooling2D(2),
    EvenConv2DTranspose=layers.Conv2DTranspose,
    MaxBlurPool2D=lambda: layers.MaxPooling2D(2),
    NIB=lambda filters, **_: layers.Conv2D(filters, 3, padding="same", activation="relu"),
    Padding2D=layers.ZeroPadding2D,
    ResizeConv2D=lambda filters, **settings: keras.Sequential(
        [layers.UpSampling2D(), layers.Conv2D(filters, 3, padding="same", **settings)]
    ),
    SubPixelConv=lambda filters, **settings: layers.Conv2DTranspose(
        filters, 4, 2, "same", **settings
    ),
)
LAYERS = {
    "AdaptiveAntiAlias": lambda its: its.AdaptiveAntiAlias(gamma_initializer="ones"),
    "BlurPool2D": lambda its: its.BlurPool2D(),
    "EvenConv2DTranspose": lambda its: its.EvenConv2DTranspose(8, 4, 2, "same"),
    "MaxBlurPool2D": lambda its: its.MaxBlurPool2D(),
    "NIB": lambda its: its.NIB(8, fixed=True, seed=0, activation="relu"),
    "Padding2D": lambda its: its.Padding2D(1),
    "ResizeConv2D": lambda its: its.ResizeConv2D(8),
    "SubPixelConv": lambda its: its.SubPixelConv(8),
}
GENERATOR = "a generator of all"
ROWS = (*LAYERS, GENERATOR)
# Column -> (the example's format, whether sizes are unknown, what the backend needs for it).
COLUMNS = {
    "tensorflow": {
        "SavedModel": ("saved_model", False, "tensorflow"),
        "SavedModel, any size": ("saved_model", True, "tensorflow"),
        "ONNX": ("onnx", False, "tf2onnx"),
        "ONNX, any size": ("onnx", True, "tf2onnx"),
        "OpenVINO": ("openvino", False, "openvino"),
        "OpenVINO, any size": ("openvino", True, "openvino"),
        "LiteRT": ("litert", False, "tensorflow"),
        "LiteRT, dynamic range": ("litert_dynamic_range", False, "tensorflow"),
        "LiteRT, int8": ("litert_int8", False, "tensorflow"),
    },
    "jax": {
        "SavedModel": ("saved_model", False, "tensorflow"),
        "SavedModel, any size": ("saved_model", True, "tensorflow"),
        "ONNX": ("onnx", False, "jax2onnx"),
        "OpenVINO": ("openvino", False, "openvino"),
    },
    "torch": {
        "`.pt2`": ("torch", False, "torch"),
        "`.pt2`, any size": ("torch", True, "torch"),
        "ONNX": ("onnx", False, "onnxscript"),
        "ONNX, any size": ("onnx", True, "onnxscript"),
        "OpenVINO": ("openvino", False, "openvino"),
        "OpenVINO, any size": ("openvino", True, "openvino"),
        "LiteRT": ("litert", False, "litert_torch"),
    },
}[BACKEND]
REASONS = ("XlaCallModule", "MaxPool")


def _model(row, its, size):
    keras.utils.set_random_seed(0)
    if row == GENERATOR:
        model = export.generator(its, size)
    else:
        model = keras.Sequential([keras.Input((*size, 8)), LAYERS[row](its)])
    rng = np.random.default_rng(1)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.1 * rng.normal(size=weight.shape))
    return model


def _images(model, size, count):
    shape = (count, *size, model.inputs[0].shape[-1])
    return np.random.default_rng(2).normal(size=shape).astype("float32")


def _errors(format, model, batches):
    """The largest error, relative to the largest value, and the root of the mean square one."""
    expected = [keras.ops.convert_to_numpy(model(images)) for images in batches]
    write, file, _ = export.FORMATS[format]
    with tempfile.TemporaryDirectory() as folder:
        answer = write(model, str(Path(folder) / file), batches[0])
        found = [answer(images) for images in batches]
    assert [y.shape for y in found] == [y.shape for y in expected]
    pairs = list(zip(found, expected, strict=True))
    largest = max(float(np.abs(y - e).max() / np.abs(e).max()) for y, e in pairs)
    y, e = pairs[0]
    return largest, float(np.sqrt(np.mean((y - e) ** 2) / np.mean(e**2)))


def cell(row, column):
    """What a cell of the table says, of the files that are written and run for it."""
    format, any_size, _ = COLUMNS[column]
    sizes = SIZES if any_size else SIZES[:1]
    errors = []
    for its in (kc, STOCK) if "_" in format and "litert" in format else (kc,):
        model = _model(row, its, (None, None) if any_size else sizes[0])
        # Of 8 bits the first batch calibrates: enough images that none lies far outside.
        batches = [_images(model, size, 20 - n) for n, size in enumerate(sizes)]
        try:
            errors.append(_errors(format, model, batches))
        except Exception as error:
            for reason in REASONS:
                if reason in str(error):
                    return f"no: {reason}"
            raise
    if len(errors) == 1 or errors[0][0] <= LIMIT:
        largest = errors[0][0]
        return "1e-5" if largest <= LIMIT else f"{largest:.1e}"
    return f"{errors[0][1]:.1%} ({errors[1][1]:.1%})"


def same(found, written):
    """Whether two cells say the same; figures in percent may differ by a quarter, or 0.3 %."""
    figures = [re.findall(r"[\d.]+(?=%)", text) for text in (found, written)]
    if not figures[0] or len(figures[0]) != len(figures[1]):
        return found == written
    pairs = zip(*figures, strict=True)
    return all(abs(float(a) - float(b)) <= max(0.25 * float(b), 0.3) for a, b in pairs)


def _marked(backend):
    return re.compile(rf"(?<=<!-- {backend} -->\n)(.*?)(?=<!-- end -->)", re.S)


def written():
    """The backend's table on the page: row -> column -> cell."""
    match = _marked(BACKEND).search(PAGE.read_text())
    assert match, BACKEND
    lines = [
        [text.strip() for text in line.strip("|").split("|")]
        for line in match[0].strip().splitlines()
    ]
    if not lines:
        return {}
    (_, *columns), _, *rows = lines
    return {row: dict(zip(columns, cells, strict=True)) for row, *cells in rows}


def write(cells):
    lines = [["", *COLUMNS], ["---"] * (len(COLUMNS) + 1)]
    lines += [[row, *cells[row].values()] for row in ROWS]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    PAGE.write_text(_marked(BACKEND).sub(lambda _: text, PAGE.read_text(), count=1))


def _is_installed(package):
    try:
        __import__(package)
    except ImportError:
        return False
    return True


if __name__ == "__main__":
    old = written()
    cells: dict = {name: {} for name in ROWS}
    for column in COLUMNS:
        for row in ROWS:
            kept = old.get(row, {}).get(column, "not run")
            cells[row][column] = cell(row, column) if _is_installed(COLUMNS[column][2]) else kept
            print(f"{row}, {column}: {cells[row][column]}", flush=True)
    write(cells)
