"""Walking a model, and building it anew."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import networks
from keras_cnnfix import graph

NETWORKS = {
    "pix2pix": networks.pix2pix,
    "dcgan": networks.dcgan,
    "style_decoder": networks.style_decoder,
    "super_resolution": networks.super_resolution,
    "pixel_shuffle": lambda: networks.super_resolution("crd"),
    "classifier": networks.classifier,
    "everything": networks.everything,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_rebuilt_model_is_the_same_and_shares_nothing(name):
    model = networks.filled(NETWORKS[name]())
    new = graph.rebuilt(model)
    x = networks.inputs_of(model)
    before = networks.outputs_of(model, x)
    for one, other in zip(before, networks.outputs_of(new, x), strict=True):
        np.testing.assert_array_equal(one, other)
    assert type(new) is type(model)
    assert new.name == model.name
    names = [[layer.name for layer in m._flatten_layers()] for m in (model, new)]
    assert sorted(names[0]) == sorted(names[1])
    assert not set(map(id, model._flatten_layers())) & set(map(id, new._flatten_layers()))
    for weight in new.weights:
        weight.assign(weight + 1)
    for one, other in zip(before, networks.outputs_of(model, x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_rebuilt_model_leaves_no_trace_in_the_old_one():
    model = networks.everything()
    calls = [len(layer._inbound_nodes) for layer in model._flatten_layers()]
    graph.rebuilt(model)
    assert [len(layer._inbound_nodes) for layer in model._flatten_layers()] == calls


def test_inputs_and_outputs_keep_their_structure_and_names():
    new = graph.rebuilt(networks.everything())
    assert set(new.input) == {"left", "right"}
    assert set(new.output) == {"image", "scores"}
    assert sorted(tensor.name for tensor in new.inputs) == ["left", "right"]


def test_what_is_frozen_stays_frozen_at_every_depth():
    model = networks.everything()
    model.get_layer("block").get_layer("smooth").trainable = False
    model.get_layer("shared").trainable = False
    model.get_layer("tail").trainable = False
    new = graph.rebuilt(model)
    flags = [{layer.name: layer.trainable for layer in m._flatten_layers()} for m in (model, new)]
    assert flags[0] == flags[1]
    assert not all(flags[0].values())


def test_a_frozen_model_stays_frozen():
    model = networks.classifier()
    model.trainable = False
    new = graph.rebuilt(model)
    assert not new.trainable
    assert not new.trainable_variables


def test_a_model_of_a_class_of_its_own_is_one_again_where_that_takes_inputs_and_outputs():
    class Own(keras.Model):
        def train_step(self, *args):
            raise NotImplementedError

    class Built(keras.Model):
        def __init__(self, factor):
            x = keras.Input((4, 4, 1))
            super().__init__(x, layers.Conv2D(factor, 3)(x))

    x = keras.Input((4, 4, 1))
    assert type(graph.rebuilt(Own(x, layers.Conv2D(2, 3)(x)))).train_step is Own.train_step
    assert graph.rebuilt(Built(2)).output_shape == (None, 2, 2, 2)


def test_a_layer_whose_config_does_not_describe_it_is_an_error():
    class Forgets(layers.Layer):
        def __init__(self, units=1, **kwargs):
            super().__init__(**kwargs)
            self.dense = layers.Dense(units)

        def build(self, shape):
            self.dense.build(shape)

        def call(self, x):
            return self.dense(x)

        def get_config(self):
            return {"name": self.name}

    model = keras.Sequential([keras.Input((3,)), Forgets(4)])
    with pytest.raises(ValueError, match=r"config of 'forgets.*must describe it"):
        graph.rebuilt(model)


def test_sites_know_what_comes_before_and_after_them():
    sites = {site.path: site for site in graph.all_sites(networks.everything())}
    assert sites["block/up"].after is sites["block/smooth"]
    assert sites["block/smooth"].before is sites["block/up"]
    assert sites["block/up"].before is None
    assert sites["block/down"].after is None  # The model's answer.
    shared = [s for s in graph.all_sites(networks.everything()) if s.path == "shared"]
    assert len(shared) == 2


def test_a_model_that_computes_in_code_of_its_own_has_no_graph():
    class Own(keras.Model):
        def call(self, x):
            return x

    assert not graph.is_graph(Own())
    assert not graph.is_graph(keras.Sequential([layers.Dense(1)]))
    assert not graph.is_graph(layers.Dense(1))
    assert graph.is_graph(networks.dcgan())


def test_operations_keep_their_arguments():
    x = keras.Input((4, 6, 2))
    y = ops.pad(x, [[0, 0], [1, 1], [2, 2], [0, 0]], mode="reflect")
    y = ops.transpose(y[:, 1:, ::2], (0, 2, 1, 3))
    model = keras.Model(x, ops.stack([y, y * 2.0], axis=1))
    images = networks.inputs_of(model)
    np.testing.assert_array_equal(graph.rebuilt(model)(images), model(images))
