"""Exports a generator to formats that run without Keras, runs each there, and compares.

Writes the files, runs each in its own runtime, and prints by how much the answer is off:

    KERAS_BACKEND=tensorflow python examples/export.py
    KERAS_BACKEND=torch python examples/export.py --formats onnx torch --model mine.keras

Each function below has the call that works for one format: Keras's `model.export`, where it does.
Where a backend lacks a format, save the model as `.keras`, and export it on another.
docs/export.md has a table of what works. What is missing installs with `keras_cnnfix[export]`.
"""

from pathlib import Path

from common import program

with program.imports("export"):
    import keras
    import numpy as np
    from keras import layers

    import keras_cnnfix as kc

BACKEND = keras.backend.backend()


def generator(its=kc, size=(None, None)):
    """By every layer there is, from images `(N, H, W, 3)`, whose sides divide by 8, to images."""
    x = image = keras.Input((*size, 3))
    x = its.NIB(8, fixed=True, seed=0, activation="relu")(x)
    x = layers.Conv2D(16, 3, activation="relu")(its.Padding2D(1)(x))
    x = its.AdaptiveAntiAlias(gamma_initializer="ones")(x)
    x = its.BlurPool2D()(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    x = its.MaxBlurPool2D()(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    x = its.ResizeConv2D(16, activation="relu")(x)
    x = its.EvenConv2DTranspose(16, 4, 2, "same", activation="relu")(x)
    x = its.SubPixelConv(3, activation="sigmoid")(x)
    return keras.Model(image, x)


def open_axes(model):
    """The axes of its images, the batch first, whose lengths it does not know."""
    return [n for n, side in enumerate(model.inputs[0].shape) if side is None]


def saved_model(model, path, images):
    import tensorflow as tf

    # JAX exports the gradient along, and has none of a strided convolution of unknown size.
    settings = {"jax2tf_kwargs": {"with_gradient": False}} if BACKEND == "jax" else {}
    model.export(path, format="tf_saved_model", verbose=False, **settings)
    loaded = tf.saved_model.load(path)
    return lambda x: loaded.serve(x).numpy()


def onnx(model, path, images):
    import onnxruntime

    if BACKEND == "torch" and len(open_axes(model)) > 1:
        import torch

        # Keras traces an unknown size as a single pixel, which no border can mirror.
        settings: dict = {"input_names": ["images"], "dynamic_axes": {"images": open_axes(model)}}
        image = (torch.from_numpy(images),)
        torch.onnx.export(model.eval(), image, path, dynamo=False, **settings)
    else:
        model.export(path, format="onnx", verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {session.get_inputs()[0].name: x})[0]


def openvino(model, path, images):
    import openvino

    if BACKEND == "torch":
        import torch

        # As above; and OpenVINO's own call keeps every size open.
        traced = torch.jit.trace(model.eval(), torch.from_numpy(images))
        openvino.save_model(openvino.convert_model(traced), path, compress_to_fp16=False)
    else:
        model.export(path, format="openvino", verbose=False)
    # A processor with bfloat16 would compute in it.
    compiled = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda x: compiled(x)[0]


def litert(model, path, images, **settings):
    import tensorflow as tf

    spec = keras.InputSpec(shape=(1, *images.shape[1:]), dtype="float32", name="images")
    model.export(path, format="litert", input_signature=[spec], verbose=False, **settings)
    interpreter = tf.lite.Interpreter(path)
    interpreter.allocate_tensors()
    (into,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images):
        answers = []
        for image in images:
            interpreter.set_tensor(into["index"], image[None])
            interpreter.invoke()
            answers.append(interpreter.get_tensor(out["index"]))
        return np.concatenate(answers)

    return run


def litert_dynamic_range(model, path, images):
    import tensorflow as tf

    return litert(model, path, images, optimizations=[tf.lite.Optimize.DEFAULT])


def litert_int8(model, path, images):
    import tensorflow as tf

    return litert(
        model,
        path,
        images,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([image[None]] for image in images),
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    )


def torch_export(model, path, images):
    import torch

    # Keras would fix the batch, and trace an unknown size as few pixels.
    spec = keras.InputSpec(shape=images.shape, dtype="float32", name="images")
    settings = {"dynamic_shapes": dict.fromkeys(open_axes(model), torch.export.Dim.DYNAMIC)}
    model.export(path, format="torch", input_signature=[spec], verbose=False, **settings)
    graph = torch.export.load(path).module()
    return lambda x: graph(torch.from_numpy(x)).detach().numpy()


# Format -> (what writes and opens it, the file, the backends that can).
FORMATS = {
    "saved_model": (saved_model, "saved_model", ("tensorflow", "jax")),
    "onnx": (onnx, "model.onnx", ("tensorflow", "torch")),
    "openvino": (openvino, "model.xml", ("tensorflow", "torch")),
    "litert": (litert, "model.tflite", ("tensorflow",)),
    "litert_dynamic_range": (litert_dynamic_range, "dynamic_range.tflite", ("tensorflow",)),
    "litert_int8": (litert_int8, "int8.tflite", ("tensorflow",)),
    "torch": (torch_export, "model.pt2", ("torch",)),
}


def compare(args):
    """Exports, runs, prints the table; returns the largest differences by format."""
    if args.model and not args.model.is_file():
        raise program.InputError(f"there is no file {args.model}")
    keras.utils.set_random_seed(args.seed)
    model = kc.load_model(args.model, compile=False) if args.model else generator()
    shape = [args.side if n is None else n for n in model.inputs[0].shape[1:]]
    images = np.random.default_rng(args.seed).random((20, *shape)).astype("float32")
    expected = keras.ops.convert_to_numpy(model(images))
    model.save(args.out / "model.keras")
    figures = {}
    for name in args.formats:
        write, file, _ = FORMATS[name]
        answer = write(model, str(args.out / file), images)(images)
        figures[name] = float(np.abs(answer - expected).max())
    title = f"Exported from {BACKEND}: largest difference, of answers up to {expected.max():.3g}"
    program.table(title, ["format", "difference"], [list(row) for row in figures.items()])
    return figures


def main(argv=None):
    """Runs the program; returns its figures."""
    possible = [name for name, (_, _, backends) in FORMATS.items() if BACKEND in backends]
    parser = program.parser("export", __doc__)
    add = parser.add_argument
    add("--model", type=Path, help="a .keras file of images, in place of a fresh generator")
    add("--formats", nargs="+", choices=possible, default=possible, help="(%(default)s)")
    add("--side", type=program.at_least(8), default=64, help="in pixels (%(default)s)")
    args = parser.parse_args(argv)
    if args.quick:
        args.side = 16
    with program.imports("export"), program.one_line_errors("export"):
        args.out.mkdir(parents=True, exist_ok=True)
        return compare(args)


if __name__ == "__main__":
    main()
