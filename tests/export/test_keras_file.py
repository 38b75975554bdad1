from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import InputSpec
from cxrs_export.keras_file import PROVENANCE, Provenance, load_model, package_versions, save_model
from cxrs_export.network import Widths, build_network

SPEC = {"size": 64, "channels": 3, "crop_top": 0.1, "resize": "bilinear"}


def pixels(size: int = 64) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(0).integers(0, 256, (3, size, size, 3)).astype(np.float32)


def small(output: str = "probabilities", **shape: Any) -> keras.Model:
    image = keras.Input(**{"shape": (64, 64, 3), "name": "image", **shape})
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(2, activation="softmax", name=output)(x))


def with_provenance(path: Path, text: str) -> Path:
    small().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(PROVENANCE, text)
    return path


def test_weights_and_provenance_come_back(tiny_model: Path) -> None:
    model, provenance = load_model(tiny_model)
    assert provenance == Provenance(
        input=InputSpec(size=64, channels=3, crop_top=0.1),
        training={"data_sha256": "0" * 64, "split": "train", "images": 7, "recipe": {"seed": 1}},
        temperature=1.5,
        temperature_fitted="fold 0",
    )
    keras.utils.set_random_seed(1)
    original = build_network(size=64)
    for ours, theirs in zip(model.get_weights(), original.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert not list(tiny_model.parent.glob("unfinished*"))


def test_half_precision_is_half_the_file_and_nearly_the_same_function(
    tiny_model: Path, tmp_path: Path
) -> None:
    model, provenance = load_model(tiny_model)
    half = tmp_path / "half.keras"
    save_model(model, half, provenance, half=True)
    again, its_provenance = load_model(half)
    assert its_provenance == provenance
    assert half.stat().st_size < 0.52 * tiny_model.stat().st_size
    assert {weight.dtype for weight in again.weights} == {"float32"}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert keras.config.dtype_policy().name == "float32"
    expected = model.predict_on_batch(pixels())
    np.testing.assert_allclose(again.predict_on_batch(pixels()), expected, atol=1e-3)
    for ours, theirs in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype(np.float16).astype(np.float32))


def test_half_precision_keeps_other_widths_and_the_flatten_head(tmp_path: Path) -> None:
    widths = Widths(projections=(16, 24, 32, 40), replication=2)
    model = build_network(size=32, channels=1, head="flatten", widths=widths, name="narrow")
    save_model(model, tmp_path / "half.keras", Provenance(InputSpec(size=32, channels=1)), half=True)
    again, _ = load_model(tmp_path / "half.keras")
    assert again.name == "narrow"
    assert again.count_params() == model.count_params()
    assert [layer.name for layer in again.layers] == [layer.name for layer in model.layers]


def test_half_precision_refuses_weights_it_cannot_hold(tmp_path: Path) -> None:
    model = build_network(size=32)
    model.get_layer("logits").set_weights([np.full((2048, 2), 70_000, np.float32)])
    with pytest.raises(ModelError, match="weights that float16 can't hold"):
        save_model(model, tmp_path / "half.keras", Provenance(InputSpec(size=32)), half=True)
    assert not list(tmp_path.iterdir())


def test_without_provenance_the_defaults_hold(tmp_path: Path) -> None:
    small(shape=(96, 96, 1)).save(tmp_path / "plain.keras")
    model, provenance = load_model(tmp_path / "plain.keras")
    assert model.input_shape == (None, 96, 96, 1)
    assert provenance == Provenance(input=InputSpec(size=96, channels=1))


def test_package_versions_are_those_installed() -> None:
    versions = package_versions()
    assert versions["keras"] == keras.__version__
    assert versions["numpy"] == np.__version__
    assert versions.keys() == {"tensorflow", "keras", "numpy", "pillow"}


def three_classes() -> keras.Model:
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.GlobalAveragePooling2D()(image)
    return keras.Model(image, keras.layers.Dense(3, name="probabilities")(x))


def two_inputs() -> keras.Model:
    left, right = keras.Input((64, 64, 3)), keras.Input((64, 64, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([left, right]))
    return keras.Model([left, right], keras.layers.Dense(2, name="probabilities")(x))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def text(path: Path) -> None:
    path.write_text("a model")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zip_without_model(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "nothing here")


def damaged_config(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", '{"module": "os", "class_name": "system", "config": {}}')
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", b"")


def with_code(path: Path) -> None:
    image = keras.Input((64, 64, 3), name="image")
    x = keras.layers.Lambda(lambda t: t * 2, output_shape=(64, 64, 3))(image)
    x = keras.layers.GlobalAveragePooling2D()(x)
    keras.Model(image, keras.layers.Dense(2, name="probabilities")(x)).save(path)


def unknown_layer(path: Path) -> None:
    small().save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members["config.json"] = members["config.json"].replace(b"GlobalAveragePooling2D", b"GlobalGuessing2D")
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def not_a_model(path: Path) -> None:
    zip_without_model(path)
    text_of = json.dumps({"module": "keras.layers", "class_name": "Dense", "config": {"units": 2}})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("config.json", text_of)
        archive.writestr("metadata.json", json.dumps({"keras_version": keras.__version__}))


@pytest.mark.parametrize(
    "spoil",
    [truncated, text, empty, zip_without_model, damaged_config, with_code, unknown_layer, not_a_model],
)
def test_a_hostile_file_is_a_model_error(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    path = tmp_path / "bad.keras"
    small().save(path)
    spoil(path)
    with pytest.raises(ModelError, match=r"bad\.keras: not a readable Keras model: \S"):
        load_model(path)


def test_code_inside_is_refused_for_what_it_is(tmp_path: Path) -> None:
    with_code(tmp_path / "bad.keras")
    with pytest.raises(ModelError, match=r"`Lambda` layer .* arbitrary code execution"):
        load_model(tmp_path / "bad.keras")


def test_the_older_format_is_refused_unread(tmp_path: Path) -> None:
    small().save(tmp_path / "old.h5")
    with pytest.raises(ModelError, match=r"old\.h5: not a readable Keras model: File is not a zip file"):
        load_model(tmp_path / "old.h5")


def test_a_missing_file_or_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.keras", tmp_path):
        with pytest.raises(ModelError, match=r"no such file; expected a \.keras model"):
            load_model(path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda: small("levels"), r"outputs \{'levels'.*; expected 'probabilities'"),
        (lambda: small(shape=(64, 32, 3)), r"input \(None, 64, 32, 3\); expected one square image"),
        (lambda: small(shape=(None, None, 3)), r"expected one square image"),
        (lambda: small(shape=(64, 64, 4)), r"1 or 3"),
        (lambda: small(shape=(64, 64, 3), batch_size=8), r"outputs .* \(8, 2\)"),
        (three_classes, r"\(None, 3\)\}; expected 'probabilities' \(None, 2\)"),
        (two_inputs, r"expected one square image"),
    ],
)
def test_another_networks_shapes_are_named(
    tmp_path: Path, model: Callable[[], keras.Model], message: str
) -> None:
    model().save(tmp_path / "other.keras")
    with pytest.raises(ModelError, match=rf"other\.keras: .*{message}"):
        load_model(tmp_path / "other.keras")


def test_a_foreign_model_in_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    keras.config.set_dtype_policy("float16")
    try:
        halved = small()
    finally:
        keras.config.set_dtype_policy("float32")
    halved.save(tmp_path / "foreign.keras")
    model, _ = load_model(tmp_path / "foreign.keras")
    assert {weight.dtype for weight in model.weights} == {"float32"}
    assert model.input.dtype == "float32"
    for ours, theirs in zip(model.get_weights(), halved.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs.astype(np.float32))


def test_provenance_of_another_size_is_refused(tmp_path: Path) -> None:
    path = with_provenance(tmp_path / "m.keras", json.dumps({"input": {**SPEC, "size": 480}}))
    with pytest.raises(ModelError, match="its provenance says 480 px, 3 channels, the network takes 64 px"):
        load_model(path)


@pytest.mark.parametrize(
    "values",
    [
        "not JSON",
        "[]",
        "{}",
        json.dumps({"input": {**SPEC, "crop_top": "a lot"}}),
        json.dumps({"input": {**SPEC, "crop_top": 0.9}}),
        json.dumps({"input": {**SPEC, "resize": "magic"}}),
        json.dumps({"input": {**SPEC, "colour": "red"}}),
        json.dumps({"input": SPEC, "temperature": 0}),
        json.dumps({"input": SPEC, "temperature": float("nan")}),
        json.dumps({"input": SPEC, "temperature": None}),
        json.dumps({"input": SPEC, "training": "yes"}),
        json.dumps({"input": SPEC, "temperature_fitted": 3}),
        json.dumps({"input": SPEC, "more": 3}),
    ],
)
def test_bad_provenance_is_refused(tmp_path: Path, values: str) -> None:
    with pytest.raises(ModelError, match=r"m\.keras: not a readable Keras model: "):
        load_model(with_provenance(tmp_path / "m.keras", values))


def test_saving_replaces_the_file_as_a_whole(tiny_model: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    shutil.copy(tiny_model, path)
    save_model(small(), path, Provenance(InputSpec(size=64), training={"note": "new"}))
    model, provenance = load_model(path)
    assert provenance.training == {"note": "new"}
    assert model.count_params() == 3 * 2 + 2
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
