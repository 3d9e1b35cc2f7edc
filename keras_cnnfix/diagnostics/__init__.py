"""Measures of the artifacts, in NumPy, on the outputs of any model and any backend."""

from keras_cnnfix.diagnostics.checkerboard import (
    CheckerboardScore,
    checkerboard_score,
    gradient_checkerboard,
    input_gradient,
)
from keras_cnnfix.diagnostics.flatness import ConstantResponse, constant_response
from keras_cnnfix.diagnostics.overlap import overlap_map, phase_gains, phase_imbalance
from keras_cnnfix.diagnostics.period import find_period
from keras_cnnfix.diagnostics.plots import plot_overlap, plot_shift_consistency, plot_spectrum
from keras_cnnfix.diagnostics.probes import GridResponse, grid_response
from keras_cnnfix.diagnostics.shift import (
    ShiftConsistency,
    segmentation_shift_consistency,
    shift_consistency,
    shift_psnr,
)

__all__ = [
    "CheckerboardScore",
    "ConstantResponse",
    "GridResponse",
    "ShiftConsistency",
    "checkerboard_score",
    "constant_response",
    "find_period",
    "gradient_checkerboard",
    "grid_response",
    "input_gradient",
    "overlap_map",
    "phase_gains",
    "phase_imbalance",
    "plot_overlap",
    "plot_shift_consistency",
    "plot_spectrum",
    "segmentation_shift_consistency",
    "shift_consistency",
    "shift_psnr",
]
