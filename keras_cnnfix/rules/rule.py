"""What a rule is: it finds a part of a graph, measures its artifact, and makes another of it."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import keras

from keras_cnnfix.diagnostics.overlap import phase_imbalance
from keras_cnnfix.graph import Site, assign, config_of
from keras_cnnfix.typing import Array, Artifact, Config, Shape, Tensor

# Pairs of sites of a match, and of what is called in their place.
Rewrite: TypeAlias = Sequence[tuple[Sequence[Site], Sequence[Any]]]
Built = TypeVar("Built", bound=keras.Layer)


class Safety(enum.StrEnum):
    """What a rule does to the answers of a model."""

    EXACT = "exact"  # The same up to rounding; verified each time.
    NEAREST = "nearest"  # Those of the nearest part without the artifact.
    RETRAIN = "retrain"  # Others: it needs to be trained further.


@dataclass(frozen=True)
class Refusal:
    """Why a rule leaves a part alone that it was looking for.

    Attributes:
        reason: In words, as the end of the sentence "left, since ...".
        match: The part, where its artifact can be measured all the same.
    """

    reason: str
    match: "Match | None" = None


@dataclass(frozen=True)
class Match:
    """A part of a graph that a rule can rewrite.

    Attributes:
        sites: The calls that it consists of, each taking the answer of the one before alone.
        found: What else the rule has found out.
    """

    sites: tuple[Site, ...]
    found: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """How strong an artifact is, from the weights.

    Attributes:
        value: A share from 0 to 1.
        threshold: From where on it is one.
        what: What the value is a share of.
        reason: Why it counts from there on.
    """

    value: float
    threshold: float
    what: str
    reason: str


# The share of a grid's energy whose amplitude is half a step of 8 bits.
VISIBLE = (0.5 / 255) ** 2


def unevenness(gains: Array) -> Measure:
    """The `Measure` of the phases' gains, as `phase_gains` returns them."""
    return Measure(
        phase_imbalance(gains),
        VISIBLE,
        "answer to constants is a checkerboard",
        "half a step of 8 bits of it",
    )


class Rule:
    """What is looked for, and what it becomes.

    Attributes:
        name: By which it is selected: `fix(model, rules=[name])`.
        safety: What it does to the answers.
        finds, becomes: In a few words.
        artifact: `"checkerboard"`, `"aliasing"`, `"border"`, or None where it makes a part faster.
        fits: Whether it fits the weights that it makes to images, where there are any.
    """

    name = ""
    safety = Safety.EXACT
    finds = ""
    becomes = ""
    artifact: Artifact | None = None
    fits = False

    def match(self, site: Site) -> Match | Refusal | None:
        """Looks at one call.

        Args:
            site: A `graph.Site`; what comes before and after it can be asked for.

        Returns:
            A `Match`; a `Refusal`, where it is what the rule looks for, but cannot be rewritten; or
            None.
        """
        raise NotImplementedError

    def measure(self, match: Match) -> Measure | None:
        """How strong the artifact of a match is, a `Measure`, or None where that is not known."""
        return None

    def rewrite(self, match: Match, inputs: list[Array] | None = None) -> Rewrite:
        """What a match becomes.

        Args:
            match: What `match` returned.
            inputs: For a rule that `fits`: what the first of its sites takes when the model is
                asked the images that `fix` was given, a list of arrays (N, ...). Else None.

        Returns:
            Pairs of sites of the match, and of what is called in their place, one after the other:
            built layers with their weights, or a site, for a copy of what it calls.
        """
        raise NotImplementedError


# The arguments that convolutions of Keras and of this package share.
_SHARED = (
    "name",
    "trainable",
    "dtype",
    "data_format",
    "activation",
    "use_bias",
    "kernel_initializer",
    "bias_initializer",
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
)


def shared_settings(layer: keras.Layer) -> Config:
    """The arguments of a convolution of Keras that one of this package takes, too."""
    config = config_of(layer)
    return {name: config[name] for name in _SHARED if name in config}


def with_weights(layer: Built, shape: Shape, kernel: Tensor, bias: Tensor | None = None) -> Built:
    """`layer`, built for inputs of `shape`, with these weights."""
    # What is drawn is not kept, and an array may be of the old shape.
    drawn = {name: getattr(layer, name) for name in ("kernel_initializer", "bias_initializer")}
    for name in drawn:
        setattr(layer, name, keras.initializers.Zeros())
    layer.build(tuple(shape))
    for name, initializer in drawn.items():
        setattr(layer, name, initializer)
    assign(layer.kernel, kernel)
    if layer.use_bias:
        assign(layer.bias, bias)
    return layer


def other_arguments(layer: Built, **arguments: Any) -> Built:
    """A layer of the same class and config but for `arguments`, with the same weights."""
    new = type(layer).from_config({**config_of(layer), **arguments})
    if layer.built and layer.variables:
        new.build_from_config(layer.get_build_config())
        for variable, value in zip(new.variables, layer.variables, strict=True):
            assign(variable, value)
    return new


def altered_kernel(layer: keras.Layer) -> str | None:
    """Why the kernel of a layer is not what it convolves with, or None."""
    if getattr(layer, "lora_enabled", False):
        return "its kernel has a LoRA part beside it; merge that first"
    if getattr(layer, "quantization_mode", None) is not None:
        return "it is quantized; fix the model first, then quantize it"
    return None


def what_follows(site: Site) -> str:
    """Why `site.after` is None, in words."""
    if site.ends:
        return "its answer is one of the model's"
    if len(site.targets) > 1:
        return f"its answer goes to {len(site.targets)} places"
    if not site.targets:
        return "nothing takes its answer"
    return f"it is joined with another tensor, in {site.targets[0].operation.name!r}"


def kind(operation: Any) -> str:
    """What an operation is called in a sentence."""
    return type(operation).__name__


def is_layer(operation: Any, *kinds: str) -> bool:
    """Whether it is a layer of one of these classes; a subclass may compute something else."""
    return any(type(operation) is getattr(keras.layers, name) for name in kinds)
