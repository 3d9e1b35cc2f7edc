"""`diagnose`: what is wrong with a model, by its graph, its weights and its answers."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import keras
import numpy as np
from tqdm import tqdm

from keras_cnnfix import checks, graph, tables
from keras_cnnfix.diagnostics.arrays import (
    images_as_array,
    not_taken,
    some_images,
    without_border,
)
from keras_cnnfix.diagnostics.checkerboard import (
    CheckerboardScore,
    checkerboard_score,
    gradient_checkerboard,
)
from keras_cnnfix.diagnostics.period import find_period
from keras_cnnfix.diagnostics.shift import shift_consistency
from keras_cnnfix.flats import answer_to_flats
from keras_cnnfix.ops import layout
from keras_cnnfix.rules import Match, Rule, chosen, group_of
from keras_cnnfix.rules.recognition import known_shape
from keras_cnnfix.rules.search import all_matches, hidden_layers, path_of
from keras_cnnfix.typing import Array, DataFormat, FilePath, Images, Ints, Severity, Shape

UNKNOWN_SIDE = 64  # pixels
PROBES = 8  # images or latents
MOST_IMAGES = 256  # that are taken of an iterable
HALF_STEP = 0.5 / 255  # of 8 bits, of the range of the answers
SHARE = 0.01  # Twice what a resize-convolution leaves in white noise; `docs/diagnostics.md`.
CONSISTENT = 0.95
ARTIFACT: Severity = "artifact"
RISK: Severity = "risk"


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        what: In a sentence.
        layer: The path of the layer that it comes from, or the name of the model.
        rule: The rule that looks for it, None where no rule does.
        value: How much of it there is, as `what` says, from 0 to 1.
        threshold: From where on it counts.
        reason: Why from there on.
        severity: `"artifact"`: measured in the model's answers; `"risk"`: the graph and the
            weights allow it.
        fix: How it is mended: dict of `rules` (for `fix`) and `safety`; None where by no rule.
    """

    what: str
    layer: str
    rule: str | None
    value: float
    threshold: float
    reason: str
    severity: Severity
    fix: dict[str, str] | None


@dataclasses.dataclass(frozen=True)
class Note:
    """Something to know: what a check measured, or why it does not apply.

    Attributes:
        check: Which check it is of.
        text: What it says.
        value: A number that was measured, else None.
    """

    check: str
    text: str
    value: float | None = None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        model: The name of the model.
        findings: Tuple of `Finding`, the worst first. Empty for a clean model.
        notes: Tuple of `Note`.
        settings: What it was made with: version, backend, number and kind of the probes.
        evidence: What a page draws: `"flats"` and `"answers"` (N, H, W, C), `"period"` and
            `"shifts"`, each where there is such.
    """

    model: str
    findings: tuple[Finding, ...]
    notes: tuple[Note, ...]
    settings: dict[str, Any]
    evidence: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def verdict(self) -> str:
        """What was found, in a sentence."""
        artifacts = [f for f in self.findings if f.severity == ARTIFACT]
        risks = len(self.findings) - len(artifacts)
        also = f" {_count(risks, 'layer')} can draw or alias." if risks else ""
        if artifacts:
            return f"{self.model}: {artifacts[0].what}.{also}"
        if risks:
            return f"{self.model}: no artifact was measured in its answers.{also}"
        return f"{self.model}: nothing was found."

    def as_dict(self) -> dict[str, Any]:
        """The diagnosis as dicts, lists, numbers and text, for JSON."""
        names = ("model", "findings", "notes", "settings")
        parts = {name: getattr(self, name) for name in names}
        return json.loads(json.dumps({"verdict": self.verdict, **parts}, default=_as_dict))

    def to_html(self, path: FilePath) -> None:
        """Writes one page that holds everything: the verdict, pictures, and a table of findings.

        Args:
            path: The file.

        Raises:
            ImportError: Jinja2 or matplotlib are missing: `pip install 'keras_cnnfix[report]'`.
        """
        from keras_cnnfix.report import write

        write(self, path)

    def __str__(self) -> str:
        rows = [
            {
                "severity": f.severity,
                "layer": f.layer,
                "what": f.what,
                "value": f.value,
                "from": f.threshold,
                "fix": "" if f.fix is None else f"rules={f.fix['rules']!r} ({f.fix['safety']})",
            }
            for f in self.findings
        ]
        notes = [{"check": note.check, "note": note.text} for note in self.notes]
        titled: list[tables.TitledRows] = [("Findings", rows), ("Notes", notes)]
        return self.verdict + "\n" + tables.text([pair for pair in titled if pair[1]])


def diagnose(
    model: keras.Model,
    images: Images | None = None,
    labels: Any = None,
    batch_size: int = 32,
    seed: int = 0,
) -> Diagnosis:
    """Finds out which artifacts a model has, from its layers, its weights and its answers.

    By the rules of `fix`: each layer that can draw a checkerboard or alias, and how much its
    weights make of that. And by asking the model, of any kind: the grid in its answers to constant
    images (a grid shows there that photographs hide) and to images or random latents (where a grid
    shows that constants do not have); how often a classifier keeps its answer when the images are
    shifted; the grid in its gradient.

    Args:
        model: A Keras model. One that computes in code of its own is asked, its layers are not
            seen.
        images: Images as the model takes them, or latents: an array, a structure of arrays for
            several inputs, or an iterable of batches, or of tuples (batch, labels), of which about
            the first 256 images are taken. None for random ones: of the spectrum of photographs,
            from 0 to 1 (0 to 255 in whole numbers), or normal numbers where the model takes no
            images.
        labels: The right classes of `images`, `(N,)`, for a classifier's consistency. An iterable
            brings its own.
        batch_size: Images that the model gets at a time.
        seed: Of the random images and of the shifts.

    Returns:
        A `Diagnosis`. A check that does not apply is a note that says why.

    Raises:
        ValueError: `model` is no Keras model, or `images` are not what it takes.

    Source:
        `docs/diagnostics.md` has the measures, `docs/repair.md` the rules.

    Example:
        >>> up = keras.layers.Conv2DTranspose(3, 3, strides=2, padding="same")
        >>> model = keras.Sequential([keras.Input((32, 32, 3)), up])
        >>> diagnosis = diagnose(model)
        >>> diagnosis.findings[0].rule, diagnosis.findings[0].severity
        ('even_transposed_conv', 'artifact')
    """
    owner = "diagnose"
    if not isinstance(model, keras.Model):
        raise ValueError(
            f"{owner}: `model` must be a keras.Model. Received: {model!r:.100}. "
            f"A file is read by `load_model`."
        )
    checks.positive_int(owner, "batch_size", batch_size)
    seed = checks.positive_int(owner, "seed", seed, minimum=0)
    if images is not None:
        images, own = some_images(owner, images, MOST_IMAGES)
        labels = own if labels is None else labels
    probe = _Probe(owner, model, images, batch_size, seed)
    findings, notes = _of_layers(model)
    asked = (
        lambda: _of_flats(model, probe, findings),
        lambda: _of_answers(model, probe, findings),
        lambda: _of_shifts(model, probe, labels, seed),
        lambda: _of_gradient(model, probe),
    )
    answered: list[Finding | Note] = []
    for check in tqdm(asked, desc=owner, unit="check", delay=3, leave=False):
        answered += check()
    findings += [found for found in answered if isinstance(found, Finding)]
    notes += [found for found in answered if isinstance(found, Note)]
    findings.sort(key=lambda f: (f.severity != ARTIFACT, -f.value / f.threshold))
    settings = {
        "version": metadata.version("keras_cnnfix"),
        "backend": keras.backend.backend(),
        "probes": probe.kind,
        "seed": int(seed),
    }
    return Diagnosis(model.name, tuple(findings), tuple(notes), settings, probe.evidence)


class _Probe:
    """What the model is asked, and what it answers.

    Attributes:
        images: What it is asked: an array or a structure of these; None where that is not known.
        given: Whether the user gave them.
        kind: What they are, in words.
        answers: What it answers: of several the largest images. None where that is no array.
        reason: Why its answers are not looked at for a grid, else None.
        factors: By how much the graph up-samples, where that was found out.
    """

    images: Any
    answers: Any
    reason: str | None
    factors: Ints | None

    def __init__(
        self, owner: str, model: keras.Model, images: Images | None, batch_size: int, seed: int
    ) -> None:
        self.model, self.batch_size = model, batch_size
        self.evidence: dict[str, Any] = {}
        self.factors = self.answers = self.reason = None
        self.data_format = data_format_of(model)
        self.given = images is not None
        if self.given:
            self.images = images
            count = len(keras.tree.flatten(self.images)[0])
            self.kind = f"{count} given"
            if not count:
                raise ValueError(f"{owner}: `images` must hold one image or more. Received: none.")
        else:
            self.images, self.kind = self._random(seed)
        if self.images is None:
            self.reason = "the model does not say which one input it takes. Give `images`"
            return
        try:
            self.answers = self._answer(self.images)
        except Exception as error:
            if self.given:
                raise not_taken(owner, self.images, error) from error
            self.reason = f"it does not take {self.kind} ({type(error).__name__})"
            return
        if self.answers is None:
            self.reason = "its answers are no arrays"
        elif not np.isfinite(self.answers).all():
            self.answers, self.reason = None, "its answers are not finite"
        elif not self.answers_images:
            self.reason = "its answers are no images"

    def _random(self, seed: int) -> tuple[Any, str]:
        shape = getattr(self.model, "input_shape", None) if graph.is_graph(self.model) else None
        if not isinstance(shape, tuple) or not isinstance(shape[-1], int):
            return None, "none"
        shape = known_shape(shape, (UNKNOWN_SIDE,) * 3, shape[0] or PROBES)
        if len(shape) != 4:
            return _normal(shape, seed), f"{shape[0]} random latents"
        images = _pink(shape, seed, self.data_format)
        dtype = self.model.inputs[0].dtype
        whole = "int" in dtype
        return (255 * images).astype(dtype) if whole else images, f"{shape[0]} random images"

    def _answer(self, images: Images) -> Array | None:
        count = len(keras.tree.flatten(images)[0])
        parts = []
        for start in range(0, count, self.batch_size):
            batch = slice(start, start + self.batch_size)
            of_batch = keras.tree.map_structure(lambda x, batch=batch: x[batch], images)
            answers = keras.tree.flatten(self.model.predict_on_batch(of_batch))
            parts.append([np.asarray(y, "float32") for y in answers if np.ndim(y)])
        if not parts[0]:
            return None
        outputs = [np.concatenate(of_output) for of_output in zip(*parts, strict=True)]
        # Of several answers the largest images: the others are of coarser scales.
        return max(outputs, key=lambda y: (y.ndim == 4, y[0].size))

    @property
    def takes_images(self) -> bool:
        return isinstance(self.images, np.ndarray) and self.images.ndim == 4

    @property
    def answers_images(self) -> bool:
        if self.answers is None or self.answers.ndim != 4:
            return False
        return min(layout.spatial_size(self.answers.shape, self.data_format)) >= 8

    def answers_to_constants(self) -> Array | None:
        """Answers to constant images that span the range of the images."""
        low, high = float(self.images.min()), float(self.images.max())
        levels = np.linspace(low, high, 5, dtype="float32")
        constants = np.ones((5, *self.images.shape[1:]), "float32") * levels[:, None, None, None]
        return self._answer(constants)


def _of_layers(model: keras.Model) -> tuple[list[Finding], list[Note]]:
    """Findings and notes from the graph and the weights."""
    if not graph.is_graph(model):
        text = "not applicable: the model computes in code of its own, so its layers are not seen"
        return [], [Note("layers", text)]
    findings, notes = [], []
    found = all_matches(model, chosen("diagnose", "all"))
    for rule, match in found.matches:
        if rule.artifact is None:
            text = f"{path_of(match)}: {rule.becomes} gives the same in less time: fix(model)"
            notes.append(Note("speed", text))
    risks = [_risk(rule, match, True) for rule, match in found.matches]
    risks += [_risk(rule, match, False) for rule, match in found.refused]
    for risk in risks:
        if risk is not None and risk not in findings:  # A layer may be called twice.
            findings.append(risk)
    notes += [
        Note("layers", f"{left.layer}: left by {left.rule}: {left.reason}") for left in found.left
    ]
    notes += [Note("layers", f"{left.layer}: {left.reason}") for left in hidden_layers(model)]
    return findings, notes


def _risk(rule: Rule, match: Match, mended: bool) -> Finding | None:
    """The finding that the weights of a match make, or None."""
    measure = None if rule.artifact is None else rule.measure(match)
    if measure is None or measure.value < measure.threshold:
        return None
    path = path_of(match)
    verb = "can draw a checkerboard" if rule.artifact == "checkerboard" else "can alias"
    what = f"{path} {verb}: {measure.value:.2%} of its {measure.what}"
    layer = match.sites[0].path if rule.artifact == "aliasing" else path
    limits = measure.value, measure.threshold, measure.reason
    fix = {"rules": group_of(rule), "safety": str(rule.safety)} if mended else None
    return Finding(what, layer, rule.name, *limits, RISK, fix)


def _of_flats(
    model: keras.Model, probe: _Probe, findings: Sequence[Finding]
) -> Iterator[Finding | Note]:
    check = "flats"
    if not probe.answers_images:
        yield _not_applicable(check, probe)
        return
    flats: Any
    period: Any
    what, period = "what it makes of flat maps", None
    if graph.is_graph(model):
        few = keras.tree.map_structure(lambda x: x[:2], probe.images)
        found = answer_to_flats(model, few, probe.data_format)
        if isinstance(found, str):
            yield Note(check, f"not applicable: {found}")
            return
        flats, period = found
        probe.factors = period
    elif probe.takes_images:
        what, flats = "its answers to constant images", probe.answers_to_constants()
    else:
        yield _not_applicable(check, probe)
        return
    answers = images_as_array("diagnose", flats, probe.data_format)
    others = images_as_array("diagnose", probe.answers, probe.data_format)
    span = max(np.ptp(answers), np.ptp(others)) or 1.0
    border = min(answers.shape[1:3]) // 4
    answers = answers[:, border:-border, border:-border]
    probe.evidence["flats"] = answers
    period, score = _grid(answers, period)
    if score is None or not score.found:
        yield Note(check, f"{what} has no grid", 0.0)
        return
    # The deviation of the grid alone: the lattice's share of the variance.
    variance = answers.astype("float64").var((1, 2)).max()
    value = float(np.sqrt(score.share * variance) / span)
    probe.evidence["period"] = period
    text = f"a grid of period {_pair(period)} in {what}"
    if value < HALF_STEP:
        yield Note(check, f"{text}, fainter than half a step of 8 bits", value)
        return
    yield _grid_finding(
        model, findings, text, value, HALF_STEP, "half a step of 8 bits, of the answers' range"
    )


def _of_answers(
    model: keras.Model, probe: _Probe, findings: Sequence[Finding]
) -> Iterator[Finding | Note]:
    check = "answers"
    if not probe.answers_images:
        yield _not_applicable(check, probe)
        return
    answers = images_as_array("diagnose", probe.answers, probe.data_format)
    probe.evidence["answers"] = answers
    border = min(answers.shape[1:3]) // 4 if min(answers.shape[1:3]) >= 64 else 0
    answers = without_border("diagnose", answers, border)
    period, score = _grid(answers, probe.factors)
    if score is None or not score.found:
        yield Note(check, "its answers have no grid", 0.0)
        return
    text = f"a grid of period {_pair(period)} in its answers to {probe.kind}"
    if probe.takes_images and _has_grid(probe, period):
        yield Note(check, f"{text}, which the images have, too", score.share)
        return
    probe.evidence.setdefault("period", period)
    text = f"{text}, {score.excess:.0f} dB above what is beside it"
    if score.share < SHARE:
        yield Note(check, f"{text}: faint, {score.share:.2%} of their energy", score.share)
        return
    reason = "twice what a resize-convolution leaves in white noise"
    yield _grid_finding(model, findings, text, score.share, SHARE, reason)


def _of_shifts(
    model: keras.Model, probe: _Probe, labels: Any, seed: int
) -> Iterator[Finding | Note]:
    check = "shifts"
    answers = probe.answers
    if not probe.takes_images or answers is None or answers.ndim != 2 or answers.shape[1] < 2:
        yield Note(check, "not applicable: the model gives no scores of classes to images")
        return
    if not probe.given:
        yield Note(check, "not applicable: it needs images that the model knows. Give `images`")
        return
    size = layout.spatial_size(probe.images.shape, probe.data_format)
    settings = {"max_shift": max(1, min(8, min(size) // 8)), "wrap": True, "seed": seed}
    result = shift_consistency(
        model, probe.images, labels=labels, data_format=probe.data_format, **settings
    )
    probe.evidence["shifts"] = result
    text = (
        f"of its answers to the images {result.agreement:.1%} stay when these are rolled by up to "
        f"{settings['max_shift']} pixels"
    )
    if result.agreement >= CONSISTENT:
        yield Note(check, text, result.agreement)
        return
    aliasing = {"rules": "downsampling", "safety": "retrain"}
    yield Finding(
        text,
        model.name,
        None,
        1 - result.agreement,
        1 - CONSISTENT,
        "one answer in twenty",
        ARTIFACT,
        aliasing,
    )


def _of_gradient(model: keras.Model, probe: _Probe) -> Iterator[Finding | Note]:
    check = "gradient"
    if not probe.takes_images:
        yield Note(check, "not applicable: the model does not take images")
        return
    strides = _strides(model)
    period: Any = tuple(min(8, s) for s in strides)
    size = layout.spatial_size(probe.images.shape, probe.data_format)
    if max(period) < 2:
        yield Note(check, "not applicable: no layer down-samples")
    elif any(n < 4 * p for n, p in zip(size, period, strict=True)):
        yield Note(check, "not applicable: the images hold fewer than four strides")
    else:
        images = probe.images[: probe.batch_size]
        try:
            score = gradient_checkerboard(model, images, period, data_format=probe.data_format)
        except Exception as error:
            yield Note(check, f"not applicable: it has no gradient ({type(error).__name__})")
            return
        text = "stands out of" if score.found else "does not stand out of"
        yield Note(
            check,
            f"a grid of period {_pair(period)}, that of its strides, {text} the size of its "
            f"gradient ({score.excess:.0f} dB): matters to who optimises images through it",
            score.excess,
        )


def _grid(answers: Array, factors: Ints | None) -> tuple[Any, CheckerboardScore | None]:
    """The period of a grid in images, and its score; None where there is none, or no room.

    Args:
        answers: Images (N, H, W, C).
        factors: By how much they were up-sampled, None where that is not known.
    """
    period: Any
    if factors is None:
        if max(answers.shape[1:3]) < 8 or (period := find_period(answers)) is None:
            return None, None
    else:
        period = tuple(
            max(p for p in range(1, factor + 1) if factor % p == 0 and (n >= 4 * p or p == 1))
            for n, factor in zip(answers.shape[1:3], factors, strict=True)
        )
        if max(period) < 2:
            return None, None
    return period, checkerboard_score(answers, period, data_format="channels_last")


def _has_grid(probe: _Probe, period: tuple[int, int]) -> bool:
    images = images_as_array("diagnose", probe.images, probe.data_format)
    if any(n < 4 * p for n, p in zip(images.shape[1:3], period, strict=True)):
        return False
    return checkerboard_score(images, period, data_format="channels_last").found


def _grid_finding(
    model: keras.Model,
    findings: Sequence[Finding],
    text: str,
    value: float,
    threshold: float,
    reason: str,
) -> Finding:
    """A finding in the answers, put down to the layer that can draw most of it."""
    drawers = [f for f in findings if f.severity == RISK and f.rule and "even" in f.rule]
    worst = max(drawers, key=lambda f: f.value, default=None)
    if worst is None:
        return Finding(text, model.name, None, value, threshold, reason, ARTIFACT, None)
    return Finding(
        f"{text}, drawn by {worst.layer}",
        worst.layer,
        worst.rule,
        value,
        threshold,
        reason,
        ARTIFACT,
        worst.fix,
    )


def _strides(model: keras.Model) -> Ints:
    """By how much a graph down-samples in all, along its longest way: a pair."""
    if not graph.is_graph(model):
        return (1, 1)
    reached: dict[int, Ints] = {}
    for site in graph.sites(model):
        before = [reached.get(id(source), (1, 1)) for source in site.sources] or [(1, 1)]
        most = tuple(map(max, zip(*before, strict=True)))
        own = _strides(site.operation) if graph.is_graph(site.operation) else _strides_of(site)
        reached[id(site)] = tuple(a * b for a, b in zip(most, own, strict=True))
    return tuple(map(max, zip(*reached.values(), strict=True))) if reached else (1, 1)


def _strides_of(site: graph.Site) -> Ints:
    strides = getattr(site.operation, "strides", None)
    if isinstance(strides, tuple) and len(strides) == 2:
        return (1, 1) if "Transpose" in type(site.operation).__name__ else strides
    shapes = [() if tensor is None else tensor.shape for tensor in (site.input, site.output)]
    if any(len(shape) != 4 for shape in shapes):
        return (1, 1)
    data_format = getattr(site.operation, "data_format", None) or keras.config.image_data_format()
    sizes = [layout.spatial_size(shape, data_format) for shape in shapes]
    if None in sizes[0] + sizes[1] or 0 in sizes[1]:
        return (1, 1)
    return tuple(max(1, large // small) for large, small in zip(*sizes, strict=True))


def data_format_of(model: keras.Model) -> DataFormat:
    """The data format of the layers, Keras's own where none has one."""
    sites = graph.all_sites(model) if graph.is_graph(model) else []
    formats: set[Any] = {getattr(site.operation, "data_format", None) for site in sites} - {None}
    return formats.pop() if len(formats) == 1 else keras.config.image_data_format()


def _pink(shape: Shape, seed: int, data_format: DataFormat) -> Array:
    """Random images with the spectrum of photographs, `1 / f`, each from 0 to 1."""
    axes = layout.spatial_axes(data_format)
    sides = layout.spatial_size(shape, data_format)
    noise = np.random.default_rng(seed).normal(size=shape)
    frequencies = np.hypot(*np.meshgrid(*map(np.fft.fftfreq, sides), indexing="ij"))
    weights = 1 / np.maximum(frequencies, 1 / max(sides))
    weights = weights.reshape(layout.image_shape(1, sides, 1, data_format))
    images = np.fft.ifft2(np.fft.fft2(noise, axes=axes) * weights, axes=axes).real
    low, high = (f(images, axis=axes, keepdims=True) for f in (np.min, np.max))
    return ((images - low) / (high - low)).astype("float32")


def _normal(shape: Shape, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def _not_applicable(check: str, probe: _Probe) -> Note:
    return Note(check, f"not applicable: {probe.reason or 'the model does not take images'}")


def _pair(period: Ints) -> str:
    return f"{period[0]} x {period[1]}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' if number > 1 else ''}"


def _as_dict(part: Any) -> dict[str, Any]:
    return {f.name: getattr(part, f.name) for f in dataclasses.fields(part)}
