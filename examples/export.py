"""Exports a generator to formats that run without Keras, runs each there, and compares.

Writes the files, runs each in its own runtime, and prints by how much the answer is off:

    KERAS_BACKEND=tensorflow python examples/export.py
    KERAS_BACKEND=torch python examples/export.py --formats onnx torch --model mine.keras

Each function below has the call that works for one format: Keras's own `model.export` where it does.
A backend that lacks a format is no obstacle: save the model as `.keras`, and export it on another.
docs/export.md has a table of what works. What is missing installs with `keras_cnnfix[export]`.
"""

import contextlib
from pathlib import Path

from common import program

with program.imports("export"):
    import keras
    import numpy as np
    from keras import layers

    import keras_cnnfix as kc

BACKEND = keras.backend.backend()


def generator():
    """From images `(N, H, W, 3)`, whose sides divide by 8, to images, by every layer we have."""
    x = image = keras.Input((None, None, 3))
    x = kc.NIB(8, fixed=True, seed=0, activation="relu")(x)
    x = layers.Conv2D(16, 3, activation="relu")(kc.Padding2D(1)(x))
    skip = x = kc.AdaptiveAntiAlias(gamma_initializer="ones")(x)
    x = kc.BlurPool2D()(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    x = kc.MaxBlurPool2D()(layers.Conv2D(16, 3, padding="same", activation="relu")(x))
    x = kc.ResizeConv2D(16, activation="relu")(x)
    x = kc.EvenConv2DTranspose(16, 4, 2, "same", activation="relu")(x)
    x = kc.SubPixelConv(3, activation="sigmoid")(layers.Concatenate()([x, skip]))
    return keras.Model(image, x)


def sizes_are_unknown(model):
    return None in model.inputs[0].shape[1:]


def saved_model(model, path, images):
    import tensorflow as tf

    # JAX exports the gradient along, and has none of a strided convolution of unknown size.
    settings = {"jax2tf_kwargs": {"with_gradient": False}} if BACKEND == "jax" else {}
    model.export(path, format="tf_saved_model", verbose=False, **settings)
    loaded = tf.saved_model.load(path)
    return lambda x: loaded.serve(x).numpy()


def onnx(model, path, images):
    import onnxruntime

    if BACKEND == "torch" and sizes_are_unknown(model):
        import torch

        # Keras traces an unknown size as a single pixel, which no border can mirror.
        axes = {n: f"axis{n}" for n, side in enumerate(model.inputs[0].shape) if side is None}
        torch.onnx.export(
            model.eval(),
            (torch.from_numpy(images),),
            path,
            dynamo=False,
            input_names=["images"],
            dynamic_axes={"images": axes},
        )
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
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(path, "CPU", settings)
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

    spec = keras.InputSpec(shape=images.shape, dtype="float32", name="images")
    open_axes = {n: torch.export.Dim.DYNAMIC for n, side in enumerate(model.inputs[0].shape) if side is None}
    model.export(path, format="torch", input_signature=[spec], dynamic_shapes=open_axes, verbose=False)
    graph = torch.export.load(path).module()
    return lambda x: graph(torch.from_numpy(x)).detach().numpy()
