"""What `diagnose` looks for and `fix` mends: one set of rules under both."""

from collections.abc import Sequence
from typing import TypeAlias

from keras_cnnfix.rules.depth_to_space import (
    DepthToSpace,
    EvenDepthToSpace,
    EvenSubPixelConv,
    ICNRSubPixelConv,
    SmoothSubPixelConv,
)
from keras_cnnfix.rules.pooling import AveragePooling, MaxPooling
from keras_cnnfix.rules.rule import Match, Measure, Refusal, Rule, Safety
from keras_cnnfix.rules.strided_conv import AdaptiveStridedConv, StridedConv
from keras_cnnfix.rules.transposed_conv import (
    EvenTransposedConv,
    ResizeForTransposedConv,
    SubPixelForTransposedConv,
)
from keras_cnnfix.rules.upsampling_conv import UpsamplingConv
from keras_cnnfix.rules.zero_padding import ZeroPadding
from keras_cnnfix.typing import RuleName

__all__ = ["GROUPS", "RULES", "Match", "Measure", "Refusal", "Rule", "Safety", "chosen", "group_of"]

Rules: TypeAlias = RuleName | Rule | Sequence[RuleName | Rule]

# Where several match one part, the first that is chosen rewrites it: what is on request before what
# is in a group, and what cures more before what cures less.
RULES: tuple[Rule, ...] = (
    ResizeForTransposedConv(),
    SubPixelForTransposedConv(),
    SmoothSubPixelConv(),
    ICNRSubPixelConv(),
    AdaptiveStridedConv(),
    UpsamplingConv(),
    EvenDepthToSpace(),
    DepthToSpace(),
    EvenSubPixelConv(),
    EvenTransposedConv(),
    MaxPooling(),
    AveragePooling(),
    StridedConv(),
    ZeroPadding(),
)
_EXACT = ("resize_conv", "subpixel_conv")
_UPSAMPLING = (*_EXACT, "even_subpixel_conv", "even_subpixel_layer", "even_transposed_conv")
_DOWNSAMPLING = ("max_pooling", "average_pooling", "strided_conv")
GROUPS: dict[RuleName, tuple[str, ...]] = {
    "exact": _EXACT,
    "upsampling": _UPSAMPLING,
    "downsampling": _DOWNSAMPLING,
    "all": (*_UPSAMPLING, *_DOWNSAMPLING),
}


def group_of(rule: Rule) -> str:
    """The narrowest group that a rule is in."""
    return next(group for group, names in GROUPS.items() if rule.name in names)


def chosen(owner: str, rules: Rules) -> list[Rule]:
    """The rules that are meant, in the order in which they are tried; a user's own come first.

    Args:
        owner: Who asks, for messages.
        rules: A group, a name, a `Rule`, or a list of these.

    Raises:
        ValueError: None of these.
    """
    own: list[Rule] = []
    names: set[str] = set()
    for rule in rules if isinstance(rules, list | tuple) else [rules]:
        if isinstance(rule, Rule):
            own.append(rule)
        elif isinstance(rule, str) and (rule in GROUPS or rule in [known.name for known in RULES]):
            names.update(GROUPS.get(rule, (rule,)))  # type: ignore[call-overload]
        else:
            raise ValueError(
                f"{owner}: `rules` must be {', '.join(map(repr, GROUPS))}, the name of a rule "
                f"({', '.join(repr(known.name) for known in RULES)}), a Rule, or a list of these. "
                f"Received: rules={rules!r}."
            )
    if not own and not names:
        raise ValueError(f"{owner}: `rules` must hold one rule or more. Received: rules={rules!r}.")
    return [*own, *(rule for rule in RULES if rule.name in names)]
