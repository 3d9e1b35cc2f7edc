"""A few configurations of each layer, the same each time; `make fuzz` tries thousands."""

import pytest
from hypothesis import given, settings

from fuzz.configurations import (
    LAYERS,
    REQUIRED,
    WRONG_INPUTS,
    configurations,
    wrong_values,
)
from fuzz.properties import holds, refuses, refuses_inputs


@pytest.mark.parametrize("layer", LAYERS)
def test_every_configuration_works_or_is_refused(layer):
    settings(max_examples=50)(given(configurations(layer))(holds))()


@pytest.mark.parametrize("layer", LAYERS)
def test_every_wrong_value_is_refused(layer, data_format):
    required = {**REQUIRED.get(layer, {}), "data_format": data_format}
    for name, value in wrong_values(layer):
        refuses(layer, required, name, value)
    for inputs in WRONG_INPUTS:
        refuses_inputs(layer, required, inputs)
