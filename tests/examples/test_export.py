"""The exported generator: the same answers in each runtime, and in 8 bits near them."""

import keras
import pytest

import export

# The converters warn.
pytestmark = pytest.mark.filterwarnings("ignore")

NEEDED = {
    "saved_model": ["tensorflow"],
    "onnx": ["onnxruntime"],
    "openvino": ["openvino"],
    "litert": ["tensorflow"],
    "litert_dynamic_range": ["tensorflow"],
    "litert_int8": ["tensorflow"],
    "torch": ["torch"],
}


def _formats(backend):
    return [name for name, (_, _, backends) in export.FORMATS.items() if backend in backends]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    for name in _formats(keras.backend.backend()):
        for package in NEEDED[name]:
            pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("export")
    return folder, export.main(["--quick", "--out", str(folder)])


def test_each_format_of_the_backend_answers_as_keras_does(run, backend):
    figures = run[1]
    assert list(figures) == _formats(backend)
    rounded = {"litert_dynamic_range": 0.005, "litert_int8": 0.01}
    for name, difference in figures.items():
        assert difference <= rounded.get(name, 1e-5), name


def test_a_model_from_a_file_is_exported(run, tmp_path, backend):
    folder, figures = run
    name = _formats(backend)[0]
    argv = ["--quick", "--model", str(folder / "model.keras"), "--formats", name]
    again = export.main([*argv, "--out", str(tmp_path)])
    assert again[name] == pytest.approx(figures[name], abs=1e-6)


def test_a_missing_file_gets_one_line(tmp_path):
    with pytest.raises(SystemExit, match=r"export: there is no file"):
        export.main(["--model", str(tmp_path / "none.keras"), "--out", str(tmp_path)])
