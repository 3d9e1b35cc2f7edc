"""`fix`: a trained model, without what draws artifacts; and `distill`, which trains it further."""

import collections
import dataclasses
import fnmatch
import itertools
import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import keras
import numpy as np
from keras import ops
from tqdm import tqdm

from keras_cnnfix import checks, graph, tables
from keras_cnnfix.diagnostics.arrays import (
    first_batches,
    is_structure,
    length,
    not_taken,
    some_images,
)
from keras_cnnfix.ops import layout
from keras_cnnfix.rules import GROUPS, RULES, Match, Rule, Rules, Safety, group_of
from keras_cnnfix.rules import chosen as rules_chosen
from keras_cnnfix.rules.recognition import known_shape
from keras_cnnfix.rules.rule import Rewrite, kind
from keras_cnnfix.rules.search import (
    Found,
    Left,
    Matches,
    all_matches,
    hidden_layers,
    likeness,
    of_own_code,
    path_of,
)
from keras_cnnfix.typing import Array, Images, Shape

# A part that is exact differs by no more than this, of the largest number that it answers.
TOLERANCE, HALF_TOLERANCE = 1e-5, 2e-2
RENEWED = 32  # batches that moving statistics are taken from
FITTED = 32  # images that a rule may fit what it makes to
MOST_IMAGES = 1024  # that are taken of an iterable
SIDES = (33, 34)  # For unknown sizes, where a part is tried.

# A name or a pattern, a class, a layer, or a function of a layer; or several.
Selection: TypeAlias = str | type[Any] | Callable[[Any], bool]
Selections: TypeAlias = Selection | Collection[Selection]


@dataclasses.dataclass(frozen=True)
class Change:
    """A part of the model that was replaced.

    Attributes:
        rule: The name of the rule.
        layer: The path of the layer: "decoder/conv2d_3", and of what else went with it: "a + b".
        before, after: What stood there, and what stands there now.
        safety: `"exact"`, `"nearest"` or `"retrain"`.
        residual: Of the part's answer to random images, the norm of the change by that of the
            answer before. None where the sizes differ inside the part.
        multiplications: Before and after, for each image. None where sizes are unknown.
        weights: Before and after.
    """

    rule: str
    layer: str
    before: str
    after: str
    safety: str
    residual: float | None
    multiplications: tuple[int, int] | None
    weights: tuple[int, int]


@dataclasses.dataclass(frozen=True)
class FixReport:
    """What `fix` did, did not, and tried in vain.

    Attributes:
        changed: Tuple of `Change`.
        left: Tuple of `Left`.
        failed: Tuple of `Left` whose replacement was taken back, or could not be made.
        difference: With `images`, by how much the model's answers to them changed: the largest
            difference by the largest answer, for each output. Else None.
        hint: What a wider `rules=` would do besides, in a line.
    """

    changed: tuple[Change, ...]
    left: tuple[Left, ...]
    failed: tuple[Left, ...]
    difference: tuple[float, ...] | None = None
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The report as dicts, lists, numbers and text."""
        return dataclasses.asdict(self, dict_factory=_plain)

    def _tables(self) -> list[tuple[str, list[dict[str, Any]]]]:
        titled: dict[str, tuple[Any, ...]] = {
            "Changed": self.changed,
            "Left alone": self.left,
            "Failed": self.failed,
        }
        return [(title, [_row(part) for part in parts]) for title, parts in titled.items() if parts]

    def _lines(self) -> list[str]:
        lines = [
            f"{len(self.changed)} changed, {len(self.left)} left alone, {len(self.failed)} failed."
        ]
        if self.difference is not None:
            changes = ", ".join(f"{value:.1e}" for value in self.difference)
            lines.append(f"The answers to the images changed by {changes} of the largest.")
        return [*lines, self.hint] if self.hint else lines

    def __str__(self) -> str:
        return (tables.text(self._tables()) + "\n".join(self._lines())).lstrip()

    def _repr_html_(self) -> str:
        return tables.html(self._tables()) + "".join(f"<p>{line}</p>" for line in self._lines())


def fix(
    model: keras.Model,
    rules: Rules = "exact",
    images: Images | None = None,
    include: Selections | None = None,
    exclude: Selections | None = None,
    min_channels: int | None = None,
    skip_first: bool = False,
    dry_run: bool = False,
) -> tuple[keras.Model, FixReport]:
    """Returns a model without what draws artifacts, and a report of what was done.

    The parts that the rules find are replaced, with their weights: by what gives the same numbers
    (`"exact"`, the default: faster, nothing else), by the nearest layers without a checkerboard
    (`"upsampling"`), or by layers that do not alias, after which the model needs to be trained
    further (`"downsampling"`). An exact replacement is compared with the part that it replaces on
    random images, and taken back where it differs by more than 1e-5 of its largest answer.

    Args:
        model: A Functional or Sequential model, with models and shared layers in it as they may
            be. It is left as it is: its weights and its optimizer, too.
        rules: `"exact"`, `"upsampling"`, `"downsampling"` or `"all"`; the name of a rule
            (`keras-cnnfix rules` lists them); a `Rule`; or a list of these.
        images: Images as the model takes them: an array, a structure of arrays for several inputs,
            or an iterable of batches (of which about the first 1,024 images are taken). The report
            says by how much the answers to them change, and `"resize"` fits its kernels to what
            the first 32 become at the layer.
        include, exclude: Which layers may be changed, and which may not: a name or a pattern
            ("decoder/*"), a class, a function of a layer, or a list of these.
        min_channels: Leave parts alone that take images of fewer channels.
        skip_first: Leave the first part alone that would be changed.
        dry_run: Report what would be done. The model is returned as it is.

    Returns:
        A pair of a new model, with the same inputs and outputs, which shares nothing with `model`,
        and a `FixReport`. A model that calls its layers in code of its own is returned as it is;
        the report says so.

    Raises:
        ValueError: An argument is out of range; `include` or `exclude` match nothing; `images` are
            not what the model takes; or the config of a layer does not describe it.

    Source:
        `docs/repair.md` has a section for each rule.

    Example:
        >>> model = keras.Sequential([
        ...     keras.Input((8, 8, 3)),
        ...     keras.layers.UpSampling2D(2),
        ...     keras.layers.Conv2D(4, 3, padding="same"),
        ... ])
        >>> fixed, report = fix(model)
        >>> [type(layer).__name__ for layer in fixed.layers], len(report.changed)
        (['ResizeConv2D'], 1)
    """
    owner = "fix"
    chosen = rules_chosen(owner, rules)
    least = 0 if min_channels is None else checks.positive_int(owner, "min_channels", min_channels)
    skip_first = checks.boolean(owner, "skip_first", skip_first)
    dry_run = checks.boolean(owner, "dry_run", dry_run)
    if not isinstance(model, keras.Layer):
        raise ValueError(
            f"{owner}: `model` must be a Keras model. Received: {model!r:.100}. "
            f"A file is read by `load_model`."
        )
    if not graph.is_graph(model):
        return model, _not_applicable(owner, model)
    sites = graph.all_sites(model)
    found = all_matches(model, chosen)
    allowed, barred = _selected(owner, sites, include, exclude)
    matches, left = [], [*found.left, *hidden_layers(model)]
    for rule, match in found.matches:
        reason = None
        channels = _channels(match)
        if not allowed(match):
            reason = "`include` does not name it"
        elif barred(match):
            reason = "`exclude` names it"
        elif channels is not None and channels < least:
            reason = f"it takes {channels} channels, fewer than min_channels={least}"
        elif skip_first:
            skip_first, reason = False, "it is the first (skip_first)"
        if reason is None:
            matches.append((rule, match))
        else:
            left.append(Left(rule.name, path_of(match), reason))
    before = inputs = None
    if images is not None:
        images, _ = some_images(owner, images, MOST_IMAGES)
        try:
            before = _answers(model, images)
        except Exception as error:
            raise not_taken(owner, images, error) from error
        inputs = _inputs(model, images, matches)
    names = {site.operation.name for site in sites}
    outputs = model.output_names if len(model.outputs) > 1 else []
    changed, failed, replaced = _rewritten(matches, names, outputs, inputs or {})
    hint = _hint(model, chosen, found)
    new, difference = model, None
    if not dry_run:
        new = graph.rebuilt(model, replaced)
        left += _not_kept(model, new)
        if before is not None:
            difference = tuple(map(_largest_change, before, _answers(new, images)))
    report = FixReport(tuple(changed), tuple(left), tuple(failed), difference, hint)
    if not changed and not left and not failed:
        _warn_of_nothing(owner, model, chosen, "was copied" if not dry_run else "was left")
    return new, report


def _not_kept(model: keras.Model, new: keras.Model) -> Iterator[Left]:
    """Compiles the new model as the old one, and says what of the old one is not in it."""
    if not graph.keeps_class(model):
        yield Left("", model.name, f"it is no {kind(model)} any more, but a plain {kind(new)}")
    if model.compiled:
        try:
            new.compile_from_config(model.get_compile_config())
        except Exception:  # A loss or a metric of the user's own.
            yield Left("", model.name, "its loss or metrics have no config: compile it anew")


def _rewritten(
    matches: Matches, names: set[str], outputs: Collection[str], inputs: dict[Any, list[Array]]
) -> tuple[list[Change], list[Left], list[tuple[tuple[graph.Site, ...], list[Any]]]]:
    """Changes, failures, and what `graph.rebuilt` replaces. New layers get names beside `names`,
    and take over those of `outputs`; rules may fit them to `inputs`.
    """
    changed, failed, replaced = [], [], []
    done: dict[Any, tuple[Match, Any, Change | str]] = {}
    for rule, match in tqdm(matches, desc="fix", unit="part", delay=3, leave=False):
        key = _key(rule, match)
        if key not in done:
            done[key] = _tried(rule, match, names, outputs, inputs.get(key))
        first, pairs, change = done[key]
        if isinstance(change, str):
            failed.append(Left(rule.name, path_of(match), change))
            continue
        # The same layers at every place where the old ones were called.
        places = dict(zip(first.sites, match.sites, strict=True))
        for sites, layers in pairs:
            moved = [places.get(layer, layer) for layer in layers]
            replaced.append((tuple(places[site] for site in sites), moved))
        changed.append(dataclasses.replace(change, layer=path_of(match)))
    return changed, failed, replaced


def _key(rule: Rule, match: Match) -> tuple[Any, ...]:
    """What matches have in common that become the same layers."""
    return rule.name, likeness(match)


def _tried(
    rule: Rule, match: Match, names: set[str], outputs: Collection[str], inputs: list[Array] | None
) -> tuple[Match, Any, Change | str]:
    """A match, what it becomes, and the `Change`, or why there is none."""
    try:
        pairs = rule.rewrite(match) if inputs is None else rule.rewrite(match, inputs=inputs)
        change = _change(rule, match, pairs)
        _name(match, [layer for _, part in pairs for layer in part], names, outputs)
        return match, pairs, change
    except Exception as error:  # Whatever stands in the way of one part, the others go on.
        return match, None, f"{type(error).__name__}: {error}"


def _name(match: Match, layers: Sequence[Any], names: set[str], outputs: Collection[str]) -> None:
    """Gives new layers names that no other layer has; one of several outputs keeps its name."""
    kept = {site.operation.name for site in match.sites}
    last = match.sites[-1]
    if last.ends and last.path in outputs and not isinstance(layers[-1], graph.Site):
        for layer in layers[:-1]:
            if not isinstance(layer, graph.Site) and layer.name == last.operation.name:
                layer.name += "_inner"
        layers[-1].name = last.operation.name
    for layer in layers:
        if isinstance(layer, graph.Site) or layer.name in kept:
            continue
        free = (f"{layer.name}_{number}" for number in itertools.count(1))
        if layer.name in names:
            layer.name = next(name for name in free if name not in names)
        names.add(layer.name)


def _change(rule: Rule, match: Match, pairs: Rewrite) -> Change:
    replaced = [site for sites, _ in pairs for site in sites]
    layers = [layer for _, part in pairs for layer in part]
    residual = _residual(rule, match.sites, layers) if len(pairs) == 1 else None
    new = [layer for layer in layers if not isinstance(layer, graph.Site)]
    old = [site.operation for site in replaced if site not in layers]
    return Change(
        rule.name,
        path_of(match),
        " + ".join(map(kind, old)),
        " + ".join(map(kind, new)),
        str(rule.safety),
        residual,
        _multiplications(match, pairs),
        (_weights(old), _weights(new)),
    )


def _residual(rule: Rule, sites: Sequence[graph.Site], layers: Iterable[Any]) -> float | None:
    """By how much the answers of `layers` to random images differ from those of `sites`.

    Raises:
        ValueError: By too much for a rule that is exact, or in shape.
    """
    tensor = sites[0].input
    if tensor is None:
        return None  # Of several tensors nothing is known of how they belong together.
    images = np.random.default_rng(0).normal(size=known_shape(tensor.shape, SIDES, batch=2))
    old = new = ops.cast(ops.convert_to_tensor(images.astype("float32")), tensor.dtype)
    for site in sites:
        old = site(old)
    for layer in layers:
        new = layer(new)
    old, new = (ops.convert_to_numpy(ops.cast(y, "float32")).astype("float64") for y in (old, new))
    if old.shape != new.shape:
        raise ValueError(f"answers of shape {new.shape} in place of {old.shape}")
    largest, difference = np.abs(old).max(initial=0), np.abs(new - old).max(initial=0)
    dtypes = {tensor.dtype, *(getattr(layer, "compute_dtype", None) for layer in layers)}
    allowed = HALF_TOLERANCE if dtypes & {"float16", "bfloat16"} else TOLERANCE
    if rule.safety == Safety.EXACT and not difference <= allowed * largest:
        raise ValueError(
            f"answers that differ by {difference / (largest or 1):.1e} of the largest; taken back"
        )
    energy = np.square(old).sum()
    return float(np.sqrt(np.square(new - old).sum() / energy)) if energy else 0.0


def _weights(operations: Iterable[Any]) -> int:
    return sum(op.count_params() for op in operations if isinstance(op, keras.Layer) and op.built)


def _multiplications(match: Match, pairs: Rewrite) -> tuple[int, int] | None:
    if match.sites[0].input is None:
        return None
    before = [(site.operation, site.input.shape, site.output.shape) for site in match.sites]
    starts = {sites[0]: layers for sites, layers in pairs}
    inner = [site for sites, _ in pairs for site in sites[1:]]
    layers = [
        layer for site in match.sites if site not in inner for layer in starts.get(site, [site])
    ]
    after, shape = [], tuple(match.sites[0].input.shape)
    for layer in layers:
        layer = layer.operation if isinstance(layer, graph.Site) else layer
        small, shape = shape, layer.compute_output_shape(shape)
        after.append((layer, small, shape))
    counts: Any = [[_products(*call) for call in calls] for calls in (before, after)]
    return None if any(None in part for part in counts) else tuple(map(sum, counts))  # type: ignore[return-value]


def _products(layer: Any, before: Shape, after: Shape) -> int | None:
    """How often a layer multiplies for an image of shape `before`; None where that is unknown."""
    taps = [w for w in getattr(layer, "weights", ()) if "kernel" in w.name]
    kernel_size = getattr(layer, "kernel_size", ())
    if not taps and not kernel_size:
        return 0
    if getattr(layer, "data_format", None) is None:
        return None
    # An up-sampler's taps each meet the pixels of the small image, the others' those of the answer.
    upsamples = hasattr(layer, "output_padding") or hasattr(layer, "size")
    size = layout.spatial_size(before if upsamples else after, layer.data_format)
    if None in size:
        return None
    if taps:
        return math.prod(size) * sum(math.prod(w.shape) for w in taps)
    channels = after[layout.channel_axis(layer.data_format)]
    return None if channels is None else math.prod(size) * math.prod(kernel_size) * channels


def _answers(model: keras.Model, images: Images) -> list[Array]:
    return keras.tree.flatten(model.predict(images, verbose=0))


def _largest_change(old: Array, new: Array) -> float:
    return float(np.abs(new - old).max() / (np.abs(old).max() or 1))


def _inputs(model: keras.Model, images: Images, matches: Matches) -> dict[Any, list[Array]]:
    """By key of the matches: what the first sites of those take whose rule has a use for it."""
    wanted = [
        (_key(rule, match), match.sites[0])
        for rule, match in matches
        if rule.fits and match.sites[0].input is not None
    ]
    few = keras.tree.map_structure(lambda x: ops.convert_to_tensor(x[:FITTED]), images)
    taken = graph.taken_by(model, few, [site for _, site in wanted])
    found: dict[Any, list[Array]] = {}
    for key, site in wanted:
        arrays = [ops.convert_to_numpy(ops.cast(x, "float32")) for x in taken[site]]
        found.setdefault(key, []).extend(arrays)
    return found


def _selected(
    owner: str, sites: Sequence[graph.Site], include: Selections | None, exclude: Selections | None
) -> tuple[Callable[[Match], bool], Callable[[Match], bool]]:
    """Functions that tell whether a match is included, and whether it is excluded."""
    tests = []
    for name, selection in (("include", include), ("exclude", exclude)):
        wanted = selection if isinstance(selection, list | tuple | set) else [selection]
        for one in [None] if not wanted else wanted if selection is not None else ():
            if not any(_is_named(one, site.path, site.operation) for site in sites):
                raise ValueError(
                    f"{owner}: `{name}` must match a layer. Received: {name}={selection!r}, of "
                    f"which {one!r} matches none of the model."
                )
        tests.append(wanted if selection is not None else None)
    included, excluded = tests

    def matches(wanted: Collection[Any]) -> Callable[[Match], bool]:
        return lambda match: any(
            _is_named(one, site.path, site.operation) for one in wanted for site in match.sites
        )

    return (
        matches(included) if included is not None else lambda match: True,
        matches(excluded) if excluded is not None else lambda match: False,
    )


def _is_named(selection: Any, path: str, operation: Any) -> bool:
    if isinstance(selection, str):
        return any(fnmatch.fnmatchcase(n, selection) for n in (path, operation.name))
    if isinstance(selection, type):
        return isinstance(operation, selection)
    if callable(selection) and not isinstance(selection, keras.Layer):
        return isinstance(operation, keras.Layer) and bool(selection(operation))
    return selection is operation and selection is not None


def _channels(match: Match) -> int | None:
    layer = next((s.operation for s in match.sites if hasattr(s.operation, "data_format")), None)
    tensor = match.sites[0].input
    if layer is None or tensor is None or len(tensor.shape) != 4:
        return None
    return tensor.shape[layout.channel_axis(layer.data_format)]


def _not_applicable(owner: str, model: keras.Model) -> FixReport:
    names = (
        ", ".join(repr(layer.name) for layer in model.layers[:3])
        if hasattr(model, "layers")
        else ""
    )
    reason = f"not applicable: {of_own_code(model, names or 'its layers')}"
    if isinstance(model, keras.Sequential):
        reason = (
            "not applicable: it is not built. Call it on a batch of images, or add a keras.Input"
        )
    warnings.warn(f"{owner}: {model.name!r} was left as it is. {reason}.", stacklevel=3)
    return FixReport((), (Left("", model.name, reason),), ())


def _hint(model: keras.Model, chosen: Sequence[Rule], found: Found) -> str:
    wider = [rule for rule in RULES if rule.name in GROUPS["all"] and rule not in chosen]
    taken = {id(site) for _, match in found.matches for site in match.sites}
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    for rule, match in all_matches(model, wider).matches:
        if not taken & set(map(id, match.sites)):
            counts[group_of(rule), rule.finds] += 1
    if not counts:
        return ""
    parts = [f"{count} x {finds} by rules={group!r}" for (group, finds), count in counts.items()]
    return f"Besides, fix would change {'; '.join(parts)}."


def _warn_of_nothing(owner: str, model: keras.Model, chosen: Iterable[Rule], done: str) -> None:
    looked_for = "; ".join(rule.finds for rule in chosen)
    warnings.warn(
        f"{owner}: no rule matches any layer of {model.name!r}. Looked for: {looked_for}. The "
        f"model {done} as it is.",
        stacklevel=3,
    )


def _plain(items: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in items}


def _row(part: Change | Left) -> dict[str, Any]:
    if isinstance(part, Left):
        return {"layer": part.layer, "rule": part.rule, "reason": part.reason}
    cost = part.multiplications and part.multiplications[1] / (part.multiplications[0] or 1)
    return {
        "layer": part.layer,
        "becomes": part.after,
        "safety": part.safety,
        "residual": part.residual,
        "multiplications": "" if cost is None else f"x {cost:.2f}",
    }


def distill(
    model: keras.Model,
    teacher: keras.Model,
    images: Images,
    epochs: int = 10,
    batch_size: int = 32,
    optimizer: Any = None,
    loss: Any = "mse",
    patience: int = 3,
    verbose: int | Literal["auto"] = "auto",
) -> keras.callbacks.History:
    """Trains a fixed model to give the answers that the old one gave: without labels.

    Each batch is shown to both; what `model` answers is drawn to what `teacher` does, both in
    inference mode. Before, the moving statistics of batch normalizations are renewed: they are
    the means over the images of what now goes through them. It ends where no gain is left: where
    the loss on a tenth of the images that is not trained on, or without an array the loss of
    training, has not fallen for `patience` epochs; the best weights stay.

    Args:
        model: What `fix` returned. It is trained in place; frozen layers are not, and its own
            optimizer and loss stay what they are.
        teacher: The model that it was made from, or any Keras model with answers of the same
            shapes. It is asked in inference mode, and left as it is.
        images: Images as the model takes them: an array (or a structure of arrays, for several
            inputs), or what gives batches of them and can be gone through again: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, a `DataLoader`. Of tuples (images, labels)
            the images are taken.
        epochs: How often all images are shown, at most.
        batch_size: Images at a time, for an array.
        optimizer: As for `keras.Model.compile`. None for Adam with a cosine decay from 1e-3.
        loss: As for `keras.Model.compile`: of what `model` answers to what `teacher` does.
        patience: Epochs without gain after which it ends.
        verbose: As for `keras.Model.fit`: 0 for no progress bar.

    Returns:
        The `keras.callbacks.History` of the training.

    Raises:
        ValueError: The two answer with different shapes, `model` has no graph, there are no images,
            or an argument is out of range.

    Source:
        Hinton, Vinyals, Dean, Distilling the Knowledge in a Neural Network, 2015,
        https://arxiv.org/abs/1503.02531; of answers that are images the mean squared error.

    Example:
        >>> up = keras.layers.Conv2DTranspose(1, 3, strides=2, padding="same")
        >>> model = keras.Sequential([keras.Input((8, 8, 1)), up])
        >>> fixed, _ = fix(model, rules="upsampling")
        >>> images = np.random.default_rng(0).random((64, 8, 8, 1)).astype("float32")
        >>> history = distill(fixed, model, images, epochs=2, verbose=0)
        >>> history.history["loss"][1] < history.history["loss"][0]
        True
    """
    owner = "distill"
    epochs = checks.positive_int(owner, "epochs", epochs)
    batch_size = checks.positive_int(owner, "batch_size", batch_size)
    patience = checks.positive_int(owner, "patience", patience)
    if not graph.is_graph(model):
        raise ValueError(
            f"{owner}: `model` must be Functional or Sequential, as `fix` returns it. Received: "
            f"{type(model).__name__}."
        )
    arrays = is_structure(images)
    if arrays:
        images = keras.tree.map_structure(ops.convert_to_numpy, images)
    first, _ = next(first_batches(owner, images, batch_size))
    shapes = [
        [tuple(y.shape[1:]) for y in keras.tree.flatten(m(_as_tensors(first), training=False))]
        for m in (model, teacher)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{owner}: `model` and `teacher` must answer with the same shapes. Received: "
            f"{shapes[0]} and {shapes[1]}."
        )

    class Student(keras.Model):
        """The same layers: what the user's own model is compiled with stays as it is."""

        def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
            return super().call(inputs, training=False, mask=mask)

        def compute_loss(
            self,
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            answers = keras.tree.map_structure(ops.stop_gradient, teacher(x, training=False))
            return super().compute_loss(x, answers, y_pred, sample_weight, training)

    settings: dict[str, Any] = {"epochs": epochs, "verbose": verbose}
    count = length(images)
    _renew_statistics(model, first_batches(owner, images, batch_size, RENEWED))
    if arrays:
        order = np.random.default_rng(0).permutation(len(keras.tree.flatten(images)[0]))
        held, shown = np.split(order, [len(order) // 10])
        if len(held):
            settings["validation_data"] = (keras.tree.map_structure(lambda x: x[held], images),)
        images = keras.tree.map_structure(lambda x: x[shown], images)
        settings["batch_size"] = batch_size
        count = -(-len(shown) // batch_size)
    watched = "val_loss" if "validation_data" in settings else "loss"
    stop = keras.callbacks.EarlyStopping(watched, patience=patience, restore_best_weights=True)
    if optimizer is None:
        steps = epochs * (count or 1000)
        optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(1e-3, steps))
    student = Student(*graph.structure(model))
    student.compile(optimizer, loss)
    return student.fit(images, callbacks=[stop], **settings)


def _as_tensors(batch: Any) -> Any:
    return keras.tree.map_structure(ops.convert_to_tensor, batch)


def _renew_statistics(model: keras.Model, batches: Iterable[tuple[Any, Any]]) -> None:
    """Makes the moving statistics of trainable normalizations means over `batches`."""
    layers = [layer for layer in model._flatten_layers() if hasattr(layer, "moving_mean")]
    layers = [layer for layer in layers if layer.trainable]
    kept = [layer.momentum for layer in layers]
    try:
        for number, (batch, _) in enumerate(batches if layers else ()):
            for layer in layers:
                layer.momentum = number / (number + 1)
            model(_as_tensors(batch), training=True)
    finally:
        for layer, momentum in zip(layers, kept, strict=True):
            layer.momentum = momentum
