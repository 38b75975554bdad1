"""SavedModel folders and .h5 files: the same answers, and the same suspicion."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

pytest.importorskip("tensorflow")

import keras
import tensorflow as tf
from tf1_writer import IMAGE, OUTPUT, Recipe, build, drawn_pixels, run_graph, write_checkpoint

from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import InputSpec
from cxrs_export.imported import PRESETS, Facts, import_model

FACTS = Facts(input_range="0..1", labels=("level1", "level2"))
v1 = tf.compat.v1


@pytest.fixture(scope="module")
def pixels() -> Any:
    return drawn_pixels()


def small(activation: str | None = "softmax", outputs: int = 1) -> keras.Model:
    """Batch norm that isn't the identity, and a head that tells images apart."""
    keras.utils.set_random_seed(5)
    image = keras.Input((64, 64, 3), name="scan")
    x = keras.layers.Conv2D(4, 3, strides=2, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Dropout(0.5)(keras.layers.ReLU()(x))
    x = keras.layers.Flatten()(x)
    heads = [keras.layers.Dense(2, activation=activation, name=f"head{n}")(x) for n in range(outputs)]
    model = keras.Model(image, heads)
    model.get_layer("bn").set_weights([np.full(4, v, np.float32) for v in (1.1, 0.1, -0.2, 0.7)])
    return model


def assert_same(path: Path, model: keras.Model, pixels: Any) -> None:
    imported = import_model(path, FACTS)
    expected = np.asarray(model(pixels / 255, training=False))
    np.testing.assert_allclose(imported.model.predict_on_batch(pixels), expected, atol=1e-5)
    assert np.ptp(expected[:, 0]) > 0.05
    assert f"{model.count_params():,} parameters" in imported.network
    assert imported.provenance.input == InputSpec(size=64)


def test_saved_model_of_keras(pixels: Any, tmp_path: Path) -> None:
    model = small()
    model.export(tmp_path / "saved", verbose=False)
    assert_same(tmp_path / "saved", model, pixels)
    files = import_model(tmp_path / "saved", FACTS).provenance.training["files"]
    assert sorted(files) == ["saved_model.pb", "variables.data-00000-of-00001", "variables.index"]


def test_saved_model_of_tensorflow_1(pixels: Any, tmp_path: Path) -> None:
    """Its learning phase is no input of the signature, and has no default."""
    prefix = write_checkpoint(tmp_path / "model", Recipe(phase_default=False))
    with tf.Graph().as_default() as graph, v1.Session() as session:
        build(Recipe(phase_default=False))
        v1.train.Saver().restore(session, str(prefix))
        tensors = (graph.get_tensor_by_name(name) for name in (IMAGE, OUTPUT))
        image, output = tensors
        v1.saved_model.simple_save(session, str(tmp_path / "saved"), {"image": image}, {"levels": output})
    found = import_model(tmp_path / "saved", FACTS).model.predict_on_batch(pixels)
    np.testing.assert_allclose(found, run_graph(prefix, pixels / 255), atol=1e-5)


def test_h5_of_keras_3(pixels: Any, tmp_path: Path) -> None:
    model = small()
    model.save(tmp_path / "model.h5")
    assert_same(tmp_path / "model.h5", model, pixels)


def keras_2_layer(kind: str, name: str, before: str | None, **config: Any) -> dict[str, Any]:
    inbound = [] if before is None else [[[before, 0, 0, {}]]]
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": inbound}


def test_h5_of_keras_2(pixels: Any, tmp_path: Path) -> None:
    """Its JSON has `batch_input_shape` and nested lists for `inbound_nodes`; the numbers are by hand."""
    layers = [
        keras_2_layer("InputLayer", "input_1", None, batch_input_shape=[None, 64, 64, 3], dtype="float32"),
        keras_2_layer("GlobalAveragePooling2D", "gap", "input_1", dtype="float32"),
        keras_2_layer("Dense", "fc", "gap", units=2, activation="softmax", use_bias=True, dtype="float32"),
    ]
    ends = {"input_layers": [["input_1", 0, 0]], "output_layers": [["fc", 0, 0]]}
    config = {"class_name": "Functional", "config": {"name": "old", "layers": layers, **ends}}
    kernel, bias = np.array([[3.0, -1.0]] * 3, np.float32), np.array([-0.5, 0.25], np.float32)
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.3.1", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [b"input_1", b"gap", b"fc"]
        for name in ("input_1", "gap"):
            weights.create_group(name).attrs["weight_names"] = []
        weights.create_group("fc").attrs["weight_names"] = [b"fc/kernel:0", b"fc/bias:0"]
        weights["fc"]["fc/kernel:0"], weights["fc"]["fc/bias:0"] = kernel, bias
    found = import_model(tmp_path / "old.h5", FACTS).model.predict_on_batch(pixels)
    margins = pixels.mean(axis=(1, 2)) / 255 @ (kernel[:, 1] - kernel[:, 0]) + 0.75
    np.testing.assert_allclose(found[:, 1], [1 / (1 + math.exp(-m)) for m in margins], atol=1e-5)


@pytest.mark.parametrize(
    ("input_range", "white", "gray"), [("0..255", 255, 51), ("0..1", 1, 0.2), ("-1..1", 1, -0.6)]
)
def test_input_ranges_by_hand(input_range: str, white: float, gray: float, tmp_path: Path) -> None:
    """The mean times (0, 0.01): the margin is a hundredth of what the network is given."""
    image = keras.Input((64, 64, 1))
    head = keras.layers.Dense(2, activation="softmax", use_bias=False)
    model = keras.Model(image, head(keras.layers.GlobalAveragePooling2D()(image)))
    head.kernel.assign([[0.0, 0.01]])
    model.save(tmp_path / "model.h5")
    imported = import_model(tmp_path / "model.h5", Facts(input_range, ("level1", "level2"), crop_top=0.0))
    assert imported.provenance.input == InputSpec(size=64, channels=1, crop_top=0.0)
    for value, given in ((255, white), (51, gray)):
        found = imported.model.predict_on_batch(np.full((1, 64, 64, 1), value, np.float32))
        assert found[0, 1] == pytest.approx(1 / (1 + math.exp(-0.01 * given)), abs=1e-6)


def test_the_preset_is_what_the_authors_published() -> None:
    preset = PRESETS["covidnet-cxr-s"]
    assert (preset.image, preset.output) == ("input_1:0", "norm_dense_2/Softmax:0")
    facts = preset.facts
    assert (facts.input_range, facts.labels) == ("0..1", ("level2", "level1"))
    assert (facts.crop_top, facts.size, facts.channel_order) == (0.08, 480, "BGR")
    assert "AGPL" in facts.licence


@pytest.mark.parametrize("labels", [(), ("level1",), ("level1", "level1"), ("level1", "level2", "level3")])
def test_labels_are_the_two_levels(labels: tuple[str, ...]) -> None:
    with pytest.raises(ModelError, match="expected level1,level2 in the order of the output's columns"):
        Facts("0..1", labels)


def test_another_size_than_the_presets(tmp_path: Path) -> None:
    small().save(tmp_path / "model.h5")
    with pytest.raises(ModelError, match=r"input scan: .*64.*; the preset's network takes 480 x 480 pixels"):
        import_model(tmp_path / "model.h5", PRESETS["covidnet-cxr-s"].facts)


def lambda_layer(path: Path) -> None:
    image = keras.Input((64, 64, 3))
    x = keras.layers.Lambda(lambda t: t * 2, output_shape=(64, 64, 3))(image)
    x = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(image, x).save(path)


def truncated(path: Path) -> None:
    small().save(path)
    path.write_bytes(path.read_bytes()[:-3000])


def garbage(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(4000))


def weights_only(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["dense/kernel:0"] = np.zeros((2, 2), np.float32)


def no_image(path: Path) -> None:
    line = keras.Input((7,))
    keras.Model(line, keras.layers.Dense(2, activation="softmax")(line)).save(path)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (Path.mkdir, "no such file; expected an .h5 file"),
        (lambda_layer, r"can't be read as a Keras model: .*[Ll]ambda"),
        (truncated, "can't be read as a Keras model"),
        (garbage, "can't be read as a Keras model"),
        (weights_only, "can't be read as a Keras model: No model config"),
        (no_image, r"\(None, 7\); expected one square image"),
        (
            lambda path: small(activation=None).save(path),
            r"output head0: \[.*\] for an image of 0; expected prob",
        ),
        (lambda path: small("sigmoid").save(path), r"output head0: \[.*\] for an image of .*; expected prob"),
        (lambda path: small(outputs=2).save(path), r"outputs \['head0', 'head1'\]; expected one image"),
    ],
)
def test_bad_h5(write: Callable[[Path], object], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    write(path)
    with pytest.raises(ModelError, match=rf"bad\.h5: .*{message}|bad\.h5: {message}"):
        import_model(path, FACTS)


class Serving(tf.Module):
    """A TensorFlow 2 SavedModel of whatever function; keeps what it captures."""

    def __init__(self, function: Callable[[Any], Any], *kept: Any) -> None:
        super().__init__()
        self.kept = list(kept)
        signature = [tf.TensorSpec((None, 64, 64, 3), tf.float32, name="image")]
        self.serve = tf.function(function, input_signature=signature)

    def save(self, folder: Path) -> None:
        tf.saved_model.save(self, str(folder), signatures={"serving_default": self.serve})


def mean_levels(image: Any) -> Any:
    x = tf.reduce_mean(image, axis=(1, 2, 3))
    return tf.nn.softmax(tf.stack([x, -x], axis=1))


def with_python(folder: Path) -> None:
    def answer(image: Any) -> Any:
        levels = tf.py_function(lambda t: t, [mean_levels(image)], tf.float32)
        return {"levels": tf.ensure_shape(levels, (None, 2))}

    Serving(answer).save(folder)


def with_file(folder: Path) -> None:
    def answer(image: Any) -> Any:
        number = tf.strings.to_number(tf.io.read_file("/etc/hostname"))
        return {"levels": mean_levels(image) + 0 * number}

    Serving(answer).save(folder)


def with_table(folder: Path) -> None:
    values = tf.lookup.KeyValueTensorInitializer(tf.constant([0, 1]), tf.constant([0.5, 0.5]))
    table = tf.lookup.StaticHashTable(values, 0.0)
    Serving(lambda image: {"levels": mean_levels(image)}, table).save(folder)


def two_outputs(folder: Path) -> None:
    Serving(lambda image: {"levels": mean_levels(image), "mean": tf.reduce_mean(image)}).save(folder)


def only_a_folder(folder: Path) -> None:
    folder.mkdir()


def truncated_graph(folder: Path) -> None:
    Serving(lambda image: {"levels": mean_levels(image)}).save(folder)
    path = folder / "saved_model.pb"
    path.write_bytes(path.read_bytes()[:-50])


def without_variables(folder: Path) -> None:
    scale = tf.Variable(2.0)
    Serving(lambda image: {"levels": mean_levels(image * scale)}, scale).save(folder)
    (folder / "variables" / "variables.index").unlink()


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (with_python, r"\(EagerPyFunc\) calls Python code"),
        (with_file, "has the operation (ReadFile|StringToNumber)"),
        (with_table, "holds objects of the kind resource"),
        (two_outputs, r"outputs \['levels', 'mean'\]; expected one image"),
        (only_a_folder, "no saved_model.pb in it"),
        (truncated_graph, "can't be read as a TensorFlow graph"),
        (without_variables, "can't be loaded"),
    ],
)
def test_bad_saved_model(write: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    write(tmp_path / "saved")
    with pytest.raises(ModelError, match=rf"saved.*: .*{message}"):
        import_model(tmp_path / "saved", FACTS)
