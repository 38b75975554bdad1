from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrs_edge.errors import TrainingError
from cxrs_edge.prepare import InputSpec
from cxrs_export.augment import Augmentation
from cxrs_export.backbones import NETWORKS
from cxrs_export.train_config import SCHEDULES, TrainConfig, read_config, write_config

augmentations = st.builds(
    Augmentation,
    translate=st.floats(0, 1),
    rotate=st.floats(0, 180),
    flip=st.booleans(),
    zoom=st.floats(0, 0.9),
    intensity=st.floats(0, 1),
)
configs = st.builds(
    TrainConfig,
    network=st.sampled_from(NETWORKS),
    size=st.integers(1, 64).map(lambda n: 32 * n),
    channels=st.sampled_from([1, 3]),
    crop_top=st.floats(0, 0.5),
    epochs=st.integers(1, 10_000),
    batch=st.integers(1, 500).map(lambda n: 2 * n),
    learning_rate=st.floats(0, 1, exclude_min=True),
    schedule=st.sampled_from(SCHEDULES),
    seed=st.integers(0, 2**32 - 1),
    fold=st.integers(-1, 99),
    augmentation=augmentations,
)


@settings(deadline=None)
@given(configs)
def test_toml_gives_the_same_configuration_back(
    tmp_path_factory: pytest.TempPathFactory, config: TrainConfig
) -> None:
    path = tmp_path_factory.getbasetemp() / "config.toml"
    write_config(config, path)
    assert read_config(path) == config


def test_defaults_are_the_papers() -> None:
    config = TrainConfig()
    assert (config.size, config.channels, config.crop_top) == (480, 3, 0.08)
    assert (config.epochs, config.batch, config.learning_rate, config.schedule) == (137, 50, 1e-4, "constant")
    assert config.augmentation == Augmentation(translate=0.1, rotate=10, flip=True, zoom=0.15, intensity=0.1)
    assert TrainConfig(size=64, channels=1, crop_top=0.1).input_spec == InputSpec(64, 1, 0.1)


def test_what_the_file_leaves_out_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text("epochs = 3\nlearning_rate = 1\n\n[augmentation]\nflip = false\nrotate = 5\n")
    assert read_config(path) == TrainConfig(
        epochs=3, learning_rate=1.0, augmentation=Augmentation(flip=False, rotate=5.0)
    )
    path.write_text("")
    assert read_config(path) == TrainConfig()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", r"config\.toml: epoch: unknown; expected network, size, channels, .*augmentation"),
        ("[augmentation]\nturn = 3", r"augmentation\.turn: unknown; expected translate, rotate"),
        ("[optimizer]\nname = 'sgd'", r"optimizer: unknown"),
        ("epochs = 3.0", r"epochs: got 3\.0; expected int"),
        ("epochs = true", r"epochs: got True; expected int"),
        ("learning_rate = 'fast'", r"learning_rate: got 'fast'; expected float"),
        ("schedule = 1", r"schedule: got 1; expected str"),
        ("augmentation = 1", r"augmentation: got 1; expected a table"),
        ("[augmentation]\nflip = 1", r"augmentation\.flip: got 1; expected bool"),
        ("epochs = ", r"config\.toml: can't be read"),
        ("epochs = 0", r"epochs: got 0; expected at least 1"),
    ],
)
def test_a_bad_file_is_refused_by_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(TrainingError, match=message):
        read_config(path)


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\0")
    for name in ("missing.toml", "binary.toml"):
        with pytest.raises(TrainingError, match=rf"{name}: can't be read"):
            read_config(tmp_path / name)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("size", 0),
        ("size", 100),
        ("size", -32),
        ("channels", 2),
        ("crop_top", 0.51),
        ("crop_top", math.nan),
        ("epochs", 0),
        ("batch", 0),
        ("batch", 7),
        ("learning_rate", 0.0),
        ("learning_rate", 1.5),
        ("learning_rate", math.nan),
        ("schedule", "linear"),
        ("seed", -1),
        ("seed", 2**32),
        ("fold", -2),
    ],
)
def test_an_invalid_value_is_named(key: str, value: object) -> None:
    with pytest.raises(TrainingError, match=rf"^{key}: got {value!r}; expected "):
        TrainConfig(**{key: value})


@pytest.mark.parametrize(
    ("key", "value"),
    [("translate", -0.1), ("rotate", 181.0), ("zoom", 1.0), ("intensity", math.nan), ("translate", math.inf)],
)
def test_an_invalid_range_is_named(key: str, value: float) -> None:
    with pytest.raises(TrainingError, match=rf"^augmentation\.{key}: got {value!r}; expected 0 to "):
        TrainConfig(augmentation=Augmentation(**{key: value}))
