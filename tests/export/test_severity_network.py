from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cxrs_bench.labelled import in_split, read_labelled
from cxrs_edge.engines.registry import ENGINES, open_engine
from cxrs_edge.model_file import read_model_file
from cxrs_export.exporting import ExportPlan, export_files
from cxrs_export.keras_file import Provenance, infer, load_model, save_model
from cxrs_export.network import build_network, freeze_stages
from cxrs_export.representative import RepresentativeSet
from cxrs_export.severity_network import ZonePooling, build_severity_network, full_model, logits_model
from cxrs_export.verify import Limits

SIZE = 64


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    model = build_severity_network(size=SIZE)
    # Random heads say next to nothing; louder ones show what gets lost.
    for name in ("logits", "zone_maps", "extent_maps"):
        layer = model.get_layer(name)
        layer.set_weights([8 * w for w in layer.get_weights()])
    return model


def pixels(seed: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (1, SIZE, SIZE, 3), dtype=np.uint8)


def margin(outputs: Any) -> float:
    level1, level2 = outputs["probabilities"][0].astype(np.float64)
    return float(np.log(level2 / level1))


def test_shapes_and_ranges(network: keras.Model) -> None:
    found = infer(network, pixels(0))
    assert {name: value.shape for name, value in found.items()} == {
        "probabilities": (1, 2),
        "zones": (1, 6),
        "extents": (1, 2),
        "evidence": (1, 2, 2),
    }
    assert found["zones"].min() >= 0
    assert found["zones"].max() <= 1
    assert found["extents"].min() >= 0
    assert found["extents"].max() <= 8


def test_the_evidence_adds_up_to_the_margin(network: keras.Model) -> None:
    for seed in range(4):
        found = infer(network, pixels(seed))
        assert found["evidence"].sum() == pytest.approx(margin(found), abs=1e-5)


def test_the_level_is_that_of_the_published_head(network: keras.Model) -> None:
    """Pooling before or after the dense layer is the same function of the same weights."""
    published = build_network(size=SIZE)
    for layer in published.layers:
        if layer.weights:
            layer.set_weights(network.get_layer(layer.name).get_weights())
    np.testing.assert_allclose(
        infer(published, pixels(1))["probabilities"], infer(network, pixels(1))["probabilities"], atol=1e-5
    )


def test_the_zones_of_a_mirrored_map_are_the_other_lungs() -> None:
    pooling = ZonePooling()
    maps = np.random.default_rng(0).normal(size=(1, 5, 5, 2)).astype(np.float32)
    there, back = (np.asarray(pooling(m)) for m in (maps, maps[:, :, ::-1]))
    np.testing.assert_allclose(back[0, [3, 4, 5, 0, 1, 2]], there[0], rtol=1e-4, atol=1e-6)


def test_a_zone_is_read_where_it_lies() -> None:
    """All opacity in the lower left corner of the film: the right lung's lower zone has the most of it."""
    maps = np.zeros((1, 15, 15, 2), np.float32)
    maps[0, 9:14, 2:6, 1] = 5
    zones = np.asarray(ZonePooling()(maps))[0]
    assert zones.argmax() == 2
    assert zones[2] > 2
    assert zones[3:].max() < 0.5


def test_a_place_holds_at_any_resolution() -> None:
    pooling = ZonePooling()
    fine = np.random.default_rng(1).normal(size=(1, 5, 5, 2)).astype(np.float32).repeat(9, 1).repeat(9, 2)
    coarse = fine[:, 1::3, 1::3]
    weights = pooling(coarse), pooling.get_weights()
    other = ZonePooling()
    other.build(fine.shape)
    other.set_weights(weights[1])
    np.testing.assert_allclose(np.asarray(other(fine)), np.asarray(weights[0]), atol=0.05)


def test_training_sees_the_same_weights(network: keras.Model) -> None:
    logits = logits_model(network)
    same = full_model(logits, size=SIZE, channels=3)
    np.testing.assert_array_equal(infer(same, pixels(2))["zones"], infer(network, pixels(2))["zones"])
    zones = np.asarray(logits.predict_on_batch(pixels(2).astype(np.float32))["zones"])
    np.testing.assert_allclose(1 / (1 + np.exp(-zones)), infer(network, pixels(2))["zones"], rtol=1e-5)


def test_a_file_keeps_all_outputs_in_half_precision(network: keras.Model, tmp_path: Path) -> None:
    from cxrs_edge.prepare import InputSpec

    save_model(network, tmp_path / "m.keras", Provenance(InputSpec(size=SIZE)), half=True)
    read, _ = load_model(tmp_path / "m.keras")
    for name, value in infer(network, pixels(3)).items():
        np.testing.assert_allclose(infer(read, pixels(3))[name], value, atol=0.05)


def test_frozen_stages_keep_their_weights() -> None:
    model = build_severity_network(size=32)
    freeze_stages(model, 2)
    frozen = {layer.name for layer in model.layers if not layer.trainable}
    assert {"stem", "stem_norm", "stage1_long_range", "stage2_block4_expand_norm"} <= frozen
    assert not any(name.startswith(("stage3", "stage4")) for name in frozen)
    untouched = build_severity_network(size=32)
    freeze_stages(untouched, 0)
    assert all(layer.trainable for layer in untouched.layers)


def test_exported_files_answer_alike_on_every_engine(network: keras.Model, tmp_path: Path) -> None:
    """Float files to rounding; int8 files keep the heads in float, so the evidence still adds up exactly."""
    from cxrs_edge.prepare import InputSpec

    # An X-ray's channels are equal; files take one of them.
    images = tuple(np.repeat(pixels(seed)[..., :1], 3, axis=3) for seed in range(8))
    some = RepresentativeSet(tuple("abcdefgh"), images, "noise")
    anything = Limits(int8_difference=1, int8_flips=1)
    export_files(
        network, Provenance(InputSpec(size=SIZE)), ExportPlan("m", some, some, limits=anything), tmp_path
    )
    expected = infer(network, images[0])
    for path in sorted(tmp_path.glob("m-*")):
        file = read_model_file(path)
        assert set(file.card.outputs) == set(expected)
        for entry in ENGINES:
            if entry.kind != file.kind or entry.package() is None:
                continue
            found = open_engine(file, entry.name).infer(images[0][..., :1])
            assert found["evidence"].sum() == pytest.approx(margin(found), abs=1e-4)
            for name, value in expected.items():
                assert found[name].shape == value.shape
                if file.card.precision == "float32":
                    np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4)


def test_levels_are_read_from_a_set_with_zones(tiny_set: Path) -> None:
    rows = {row.image_id: row.readings for row in in_split(read_labelled(tiny_set), "train")}
    assert rows["t00"].senior == (0, 0, 3, 0, 0, 0)
    assert rows["t03"].senior is None
    assert rows["t03"].geographic == 2.5
