"""A Keras model as a graph of calls, and the same graph built anew.

The only file that reads Keras's record of a graph: the nodes of its operations.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

import keras
import numpy as np

from keras_cnnfix.typing import Config, Images, Tensor

Value = TypeVar("Value")
# By the id of what is copied: the old one and the new one.
Copies: TypeAlias = dict[int, tuple[Any, Any]]
# By the id of a node: what its chain takes and what is called instead; None inside of a chain.
Parts: TypeAlias = dict[int, Any]


@dataclass(eq=False)
class Site:
    """One call of a layer, of a model within the model, or of an operation.

    Attributes:
        operation: What is called. The same for several sites, where it is shared.
        node: Keras's record of the call.
        path: Its name behind those of the models around it: "decoder/conv2d_3".
        sources: For each tensor that it takes, the site that answers it; None for an input.
        targets: The sites that take an answer of it.
        ends: Whether one of its answers is one of the model's.
    """

    operation: Any
    node: Any
    path: str
    sources: "list[Site | None]" = field(default_factory=list)
    targets: "list[Site]" = field(default_factory=list)
    ends: bool = False

    @property
    def input(self) -> Any:
        """The tensor that it takes, None if there are several or none."""
        tensors = self.node.input_tensors
        return tensors[0] if len(tensors) == 1 else None

    @property
    def output(self) -> Any:
        """The tensor that it answers, None if there are several."""
        return self.node.outputs[0] if len(self.node.outputs) == 1 else None

    @property
    def before(self) -> "Site | None":
        """The one site whose one answer it takes, None if there is no such."""
        alone = self.input is not None and self.sources[0] is not None
        return self.sources[0] if alone and self.sources[0].output is not None else None  # type: ignore[union-attr]

    @property
    def after(self) -> "Site | None":
        """The one site that takes its answer, and nothing else, None if there is no such."""
        alone = len(self.targets) == 1 and not self.ends and self.output is not None
        return self.targets[0] if alone and self.targets[0].before is self else None

    def __call__(self, *tensors: Tensor) -> Any:
        """What it answers in inference to these in place of the tensors that it takes."""
        symbols = map(id, self.node.input_tensors)
        arguments, named = self.node.arguments.fill_in(dict(zip(symbols, tensors, strict=True)))
        if "training" in inspect.signature(self.operation.call).parameters:
            named = {**named, "training": False}
        return self.operation(*arguments, **named)


def is_graph(operation: Any) -> bool:
    """Whether it is a model whose calls are recorded, and that computes nothing beside them:
    Functional, or a Sequential that is built.
    """
    if isinstance(operation, keras.Sequential):
        inputs = getattr(operation, "inputs", None) if operation.built else None
        return type(operation).call is keras.Sequential.call and bool(inputs)
    if not isinstance(operation, keras.Model) or not isinstance(operation, keras.Function):
        return False
    return type(operation).call is _functional().call


def keeps_class(model: keras.Model) -> bool:
    """Whether `rebuilt` makes a model of the same class, and not a plain one."""
    plain = keras.Sequential if isinstance(model, keras.Sequential) else _functional()
    return type(model).__init__ is plain.__init__


def structure(model: keras.Model) -> tuple[Any, Any]:
    """The symbolic inputs and outputs of a graph, as its calls take and answer them."""
    if isinstance(model, keras.Sequential):
        return model.inputs[0], model.outputs[0]
    return model.input, model.output


def sites(model: keras.Model, path: str = "") -> list[Site]:
    """The sites of a graph, each behind those it takes answers of; a model in it is one site."""
    given = {id(tensor) for tensor in model.inputs}
    found: dict[int, Site] = {}
    pending = [_node_of(tensor) for tensor in reversed(model.outputs) if id(tensor) not in given]
    while pending:
        node = pending.pop()
        if id(node) in found:
            continue
        unseen = [
            source
            for tensor in node.input_tensors
            if id(tensor) not in given and id(source := _node_of(tensor)) not in found
        ]
        if unseen:
            pending += [node, *reversed(unseen)]
            continue
        site = Site(node.operation, node, path + node.operation.name)
        for tensor in node.input_tensors:
            source = None if id(tensor) in given else found[id(_node_of(tensor))]
            site.sources.append(source)
            if source is not None:
                source.targets.append(site)
        found[id(node)] = site
    for tensor in model.outputs:
        if id(tensor) not in given:
            found[id(_node_of(tensor))].ends = True
    return list(found.values())


def all_sites(model: keras.Model) -> list[Site]:
    """The sites of a graph and of the graphs within it, each of these once; theirs come first."""
    return _all_sites(model, "", set())


def _all_sites(model: keras.Model, path: str, seen: set[int]) -> list[Site]:
    found = []
    for site in sites(model, path):
        if is_graph(site.operation) and id(site.operation) not in seen:
            seen.add(id(site.operation))
            found += _all_sites(site.operation, site.path + "/", seen)
        found.append(site)
    return found


def taken_by(model: keras.Model, x: Images, wanted: Iterable[Site]) -> dict[Site, list[Tensor]]:
    """What sites take in inference when the graph is asked `x`.

    Args:
        model: A graph (`is_graph`).
        x: What it takes: a batch, or a structure of these.
        wanted: Sites of it or of the graphs within it, each taking one tensor.

    Returns:
        Dict of the tensors that each of `wanted` takes: a list, of one for each time it is reached.
    """
    found: dict[Site, list[Tensor]] = {site: [] for site in wanted}
    by_node = {id(site.node): found[site] for site in wanted}

    def asked(model: keras.Model, tensors: Iterable[Tensor]) -> list[Tensor]:
        pairs = zip(model.inputs, tensors, strict=True)
        return walked(model, [keras.ops.cast(x, symbol.dtype) for symbol, x in pairs], answers)

    def answers(site: Site, tensors: list[Tensor]) -> list[Tensor]:
        if id(site.node) in by_node:
            by_node[id(site.node)] += tensors
        if is_graph(site.operation):
            return asked(site.operation, tensors)
        return keras.tree.flatten(site(*tensors))

    if wanted:
        asked(model, keras.tree.flatten(x))
    return found


def walked(
    model: keras.Model,
    values: Iterable[Value],
    answers: Callable[[Site, list[Value]], Iterable[Value]],
) -> list[Value]:
    """What a graph answers, one call after the other.

    Args:
        model: A graph (`is_graph`).
        values: What it takes: a list, of whatever `answers` understands.
        answers: Function of a site and of the list of what it takes, to the list of its answers.
    """
    known = dict(zip(map(id, model.inputs), values, strict=True))
    for site in sites(model):
        taken = [known[id(tensor)] for tensor in site.node.input_tensors]
        known.update(zip(map(id, site.node.outputs), answers(site, taken), strict=True))
    return [known[id(tensor)] for tensor in model.outputs]


def inner_layers(operation: Any) -> list[keras.Layer]:
    """The layers that a layer holds in its attributes: its calls of them are not recorded."""
    if is_graph(operation) or not isinstance(operation, keras.Layer):
        return []
    return list(operation._flatten_layers(include_self=False))


def rebuilt(
    model: keras.Model, replaced: Iterable[tuple[Sequence[Site], Sequence[Any]]] = ()
) -> keras.Model:
    """Returns a new model of the same interface and weights, which shares nothing with `model`.

    Args:
        model: A graph (`is_graph`). It is left as it is.
        replaced: Pairs of sites, of `model` or of the graphs within it, each taking the answer of
            the one before alone, and of what is called instead, one after the other: layers, or
            sites, for copies of what these call.

    Raises:
        ValueError: The config of a layer does not describe it: the copy has other weights.
    """
    parts: Parts = {}
    for chain, layers in replaced:
        parts.update({id(site.node): None for site in chain})
        parts[id(chain[-1].node)] = (chain[0].input, layers)
    new_layers = [part for _, parts in replaced for part in parts if not isinstance(part, Site)]
    flags = [(layer, layer.trainable) for layer in new_layers]
    copies: Copies = {}
    new = _rebuilt(model, parts, copies)
    _copy_flags(model, copies)
    for layer, trainable in flags:
        if layer.trainable != trainable:
            layer.trainable = trainable
    return new


def _rebuilt(model: keras.Model, parts: Parts, copies: Copies) -> keras.Model:
    inputs = [_node_of(tensor).operation for tensor in model.inputs]
    inputs = [_configured(layer) for layer in inputs]
    values = {id(old): new.output for old, new in zip(model.inputs, inputs, strict=True)}
    called = []
    for site in sites(model):
        if id(site.node) in parts and parts[id(site.node)] is None:
            continue
        if id(site.node) in parts:
            tensor, layers = parts[id(site.node)]
            answer = values[id(tensor)]
            new_names = [layer.name for layer in layers if not isinstance(layer, Site)]
            for layer in layers:
                if isinstance(layer, Site):
                    answer = _called(layer, {id(layer.input): answer}, parts, copies)
                    called.append(copies[id(layer.operation)][1])
                    if called[-1].name in new_names:
                        called[-1].name += "_inner"
                else:
                    answer = layer(answer)
                    called.append(layer)
        else:
            answer = _called(site, values, parts, copies)
            called.append(copies[id(site.operation)][1])
        values.update(zip(map(id, site.node.outputs), keras.tree.flatten(answer), strict=True))

    def new_of(tensors: Any) -> Any:
        return keras.tree.map_structure(lambda tensor: values[id(tensor)], tensors)

    kind = type(model) if keeps_class(model) else None
    if isinstance(model, keras.Sequential):
        new = (kind or keras.Sequential)([*inputs, *called], name=model.name)
    else:
        new = (kind or keras.Model)(*map(new_of, structure(model)), name=model.name)
    copies[id(model)] = model, new
    return new


def _called(site: Site, values: dict[int, Tensor], parts: Parts, copies: Copies) -> Any:
    """What a copy of the site's operation answers to the `values` of its tensors."""
    old = site.operation
    if id(old) not in copies:
        copies[id(old)] = old, _copy(old, parts, copies)
    new = copies[id(old)][1]
    arguments = site.node.arguments.fill_in(values)
    arguments, named = keras.tree.map_structure(lambda x: _own(x, copies), arguments)
    answer = new(*arguments, **named)
    if isinstance(old, keras.Layer) and not is_graph(old):
        _copy_weights(old, new)
    return answer


def _own(argument: Any, copies: Copies) -> Any:
    """An argument of a call; for a weight of the old model, that of the new one."""
    if keras.ops.is_tensor(argument):
        # What was computed of a weight may share its memory (PyTorch 2.13).
        return keras.ops.convert_to_tensor(np.copy(keras.ops.convert_to_numpy(argument)))
    if not isinstance(argument, keras.Variable):
        return argument
    for old, new in copies.values():
        weights = (getattr(operation, "variables", ()) for operation in (old, new))
        for one, other in _pairs(*weights):
            if one is argument:
                return other
    raise ValueError(
        f"fix: a weight that an operation takes must be one of a layer before it. Received: "
        f"{argument.path!r}. Make a layer of the operation."
    )


def assign(variable: keras.Variable, value: Tensor) -> None:
    """Gives a variable its own copy of a value."""
    # JAX would share the array, and delete it when one of the two is trained (JAX 0.10).
    variable.assign(keras.ops.convert_to_numpy(value))


@functools.cache
def _functional() -> type[Any]:
    """Keras's class of Functional models."""
    x = keras.Input(())
    # Keras 3.10 takes no model without a layer.
    return type(keras.Model(x, keras.layers.Identity(name="identity")(x)))


def _copy(operation: Any, parts: Parts, copies: Copies) -> Any:
    if is_graph(operation):
        return _rebuilt(operation, parts, copies)
    if isinstance(operation, keras.Layer):
        return _configured(operation)
    # An operation of `keras.ops` holds arguments, no weights.
    new = copy.copy(operation)
    new._inbound_nodes, new._outbound_nodes = [], []
    return new


def config_of(layer: keras.Layer) -> Config:
    """The config of a layer, with functions and other objects without weights as they are: a user's
    own need not be registered.
    """
    config = layer.get_config()
    live = ("activation", "initializer", "regularizer", "constraint")
    for name in config:
        if name.endswith(live) and getattr(layer, name, None) is not None:
            config[name] = getattr(layer, name)
    return config


def _configured(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.layers.Lambda):
        # Its config holds code, which Keras refuses to run from a config.
        settings = {"name": layer.name, "dtype": layer.dtype_policy, "trainable": layer.trainable}
        inner = (layer.function, layer._output_shape, layer.mask, layer.arguments)
        return type(layer)(*inner, **settings)
    try:
        return type(layer).from_config(config_of(layer))
    except Exception as error:  # Whatever stands in its config.
        first = (str(error).splitlines() or [""])[0]
        raise ValueError(
            f"fix: {layer.name!r} ({type(layer).__name__}) must be made again from its config. "
            f"Received: {type(error).__name__}: {first}. Mend its `get_config`, or register what "
            f"it holds (keras.saving.register_keras_serializable)."
        ) from error


def _copy_weights(old: keras.Layer, new: keras.Layer) -> None:
    pairs = _pairs(old.variables, new.variables)
    shapes = [[tuple(v.shape) for v in layer.variables] for layer in (old, new)]
    if len(shapes[0]) != len(shapes[1]) or any(a.shape != b.shape for a, b in pairs):
        raise ValueError(
            f"fix: the config of {old.name!r} ({type(old).__name__}) must describe it. Received: "
            f"weights of shapes {shapes[0]}, and {shapes[1]} in a layer made from its config. "
            f"Mend its `get_config`."
        )
    for value, variable in pairs:
        assign(variable, value)


def _pairs(old: Any, new: Any) -> list[tuple[keras.Variable, keras.Variable]]:
    """The variables of a layer and those of its copy: by name, where one name is of one of each."""
    named = {variable.name: variable for variable in new}
    # A layer that is quantized before it is built has them in another order (float8, Keras 3.15).
    if len(named) == len(new) and {variable.name for variable in old} == set(named):
        return [(variable, named[variable.name]) for variable in old]
    return list(zip(old, new, strict=False))


def _copy_flags(model: keras.Model, copies: Copies) -> None:
    """What is frozen stays frozen: a model before what is in it, since it speaks for that, too."""
    old, new = copies[id(model)]
    if new.trainable != old.trainable:
        new.trainable = old.trainable
    for site in sites(model):
        if is_graph(site.operation):
            _copy_flags(site.operation, copies)
        elif id(site.operation) in copies and isinstance(site.operation, keras.Layer):
            pair = copies[id(site.operation)]
            for one, other in zip(*(layer._flatten_layers() for layer in pair), strict=True):
                if other.trainable != one.trainable:
                    other.trainable = one.trainable
            for one, other in _pairs(*(layer.variables for layer in pair)):
                if other.trainable != one.trainable:
                    other.trainable = one.trainable


def _node_of(tensor: keras.KerasTensor) -> Any:
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]
