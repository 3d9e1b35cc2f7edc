"""What rules find in a model, and why they leave other parts alone."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import keras
import numpy as np

from keras_cnnfix import graph
from keras_cnnfix.graph import Site
from keras_cnnfix.rules.rule import Match, Refusal, Rule, is_layer, kind

Matches: TypeAlias = list[tuple[Rule, Match]]


@dataclasses.dataclass(frozen=True)
class Left:
    """A part that a rule was looking for, and that was left alone.

    Attributes:
        rule: The name of the rule.
        layer: The path of the layer: "decoder/conv2d_3".
        reason: Why, in words.
    """

    rule: str
    layer: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Found:
    """What rules find in a graph.

    Attributes:
        matches: Pairs of a rule and a `Match`.
        left: `Left`, for each that is left alone.
        refused: Pairs as `matches`, of parts left alone that can be measured all the same.
    """

    matches: Matches
    left: list[Left]
    refused: Matches


def all_matches(model: keras.Model, chosen: Iterable[Rule]) -> Found:
    """What the rules `chosen` find in a model; of two that match a part the first one."""
    sites = graph.all_sites(model)
    taken: set[int] = set()
    matches, left, refused = [], [], []
    for rule in chosen:
        own = []
        for site in sites:
            match = rule.match(site)
            if isinstance(match, Refusal):
                left.append((site, Left(rule.name, site.path, match.reason)))
                if match.match is not None:
                    refused.append((rule, match.match))
            elif match is not None and not taken & set(map(id, match.sites)):
                own.append(match)
        for match in own:
            reason = _shared_with_others(match, own, sites)
            if taken & set(map(id, match.sites)):
                continue
            if reason:
                left.append((match.sites[0], Left(rule.name, path_of(match), reason)))
                refused.append((rule, match))
            else:
                matches.append((rule, match))
                taken.update(map(id, match.sites))
    order = {id(site): number for number, site in enumerate(sites)}
    matches.sort(key=lambda pair: order[id(pair[1].sites[0])])
    # What one rule refuses, and another one changes, is changed.
    return Found(
        matches,
        [reason for site, reason in left if id(site) not in taken],
        [pair for pair in refused if not taken & set(map(id, pair[1].sites))],
    )


def likeness(match: Match) -> tuple[Any, ...]:
    """What two matches have in common that become the same layers: the weights, what is done to
    them, and the shapes of what they take.
    """
    return (
        tuple(_of_operation(site.operation) for site in match.sites),
        tuple(str(tensor.shape) for tensor in match.sites[0].node.input_tensors),
        repr(match.found),
    )


def _of_operation(operation: Any) -> Any:
    if not isinstance(operation, keras.Layer) or operation.variables:
        return id(operation)
    return type(operation), repr({**operation.get_config(), "name": None})


def _shared_with_others(
    match: Match, matches: Sequence[Match], sites: Sequence[Site]
) -> str | None:
    """Why a layer that is called at several places cannot be replaced, or None."""
    alike = [other for other in matches if likeness(other) == likeness(match)]
    for site in match.sites:
        operation = site.operation
        if len(match.sites) > 1 and not getattr(operation, "variables", ()):
            continue
        calls = sum(other.operation is operation for other in sites)
        replaced = sum(part.operation is operation for other in alike for part in other.sites)
        if replaced < calls:
            return f"{operation.name!r} is called at {calls} places, of which {replaced} are alike"
    return None


def path_of(match: Match) -> str:
    return " + ".join(site.path for site in match.sites)


def hidden_layers(model: keras.Model) -> list[Left]:
    """Layers that a rule may be for, and that a layer calls in code of its own."""
    kinds = ("Conv2DTranspose", "UpSampling2D", "MaxPooling2D", "AveragePooling2D")
    left = []
    for site in graph.all_sites(model):
        inner = [
            layer
            for layer in graph.inner_layers(site.operation)
            if is_layer(layer, *kinds) or np.max(getattr(layer, "strides", None) or 1) > 1
        ]
        if inner:
            names = ", ".join(f"{kind(layer)} {layer.name!r}" for layer in inner[:3])
            left.append(
                Left("", site.path, f"not applicable: {of_own_code(site.operation, names)}")
            )
    return left


def of_own_code(operation: Any, names: str) -> str:
    """What to do with a layer, or a model, that calls others in code of its own."""
    return (
        f"{kind(operation)} calls {names} in code of its own, which has no graph. Make "
        f"a Functional model of its layers (keras.Model(inputs, outputs)), or replace them there"
    )
