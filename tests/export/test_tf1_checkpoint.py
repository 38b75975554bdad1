"""Checkpoints of TensorFlow 1: the same answers as TensorFlow's own, and nothing of a stranger's is run."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("tensorflow")

import tensorflow as tf
from tf1_writer import IMAGE, OUTPUT, Recipe, drawn_pixels, run_graph, write_checkpoint

from cxrs_edge.errors import ModelError
from cxrs_edge.prepare import InputSpec
from cxrs_export.imported import Facts, import_checkpoint

FACTS = Facts(input_range="0..1", labels=("level2", "level1"))
v1 = tf.compat.v1


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written once; tests that spoil it copy it first."""
    return write_checkpoint(tmp_path_factory.mktemp("released") / "model")


@pytest.fixture
def copy(checkpoint: Path, tmp_path: Path) -> Path:
    shutil.copytree(checkpoint.parent, tmp_path / "copy")
    return tmp_path / "copy" / checkpoint.name


@pytest.fixture(scope="module")
def pixels() -> Any:
    return drawn_pixels()


def edit_graph(prefix: Path, change: Callable[[Any], None]) -> Path:
    """Rewrite the meta graph; returns its file."""
    path = prefix.with_name(prefix.name + ".meta")
    meta = v1.MetaGraphDef.FromString(path.read_bytes())
    change(meta)
    path.write_bytes(meta.SerializeToString())
    return path


def named(meta: Any, name: str) -> Any:
    return next(node for node in meta.graph_def.node if node.name == name)


def read(prefix: Path, image: str = IMAGE, output: str = OUTPUT) -> Any:
    return import_checkpoint(prefix, image, output, FACTS)


@pytest.mark.parametrize("phase_default", [True, False])
@pytest.mark.parametrize(
    ("resource_variables", "functional_conditions"),
    [(False, False), (True, False), (True, True)],
    ids=["1.x", "1.15", "2.x"],
)
def test_answers_as_the_graph_does_in_inference(
    resource_variables: bool, functional_conditions: bool, phase_default: bool, pixels: Any, tmp_path: Path
) -> None:
    recipe = Recipe(
        resource_variables=resource_variables,
        functional_conditions=functional_conditions,
        phase_default=phase_default,
    )
    prefix = write_checkpoint(tmp_path / "model", recipe)
    expected = run_graph(prefix, pixels / 255)
    found = read(prefix).model.predict_on_batch(pixels)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    # Batch norm in the other mode answers otherwise, and other images do.
    assert np.abs(run_graph(prefix, pixels / 255, phase=True) - expected).max() > 0.05
    assert np.ptp(expected[:, 0]) > 0.1


def test_facts_and_provenance(checkpoint: Path) -> None:
    imported = read(checkpoint)
    assert imported.provenance.input == InputSpec(size=64, channels=3, crop_top=0.08)
    training = imported.provenance.training
    assert sorted(training["files"]) == ["model.data-00000-of-00001", "model.index", "model.meta"]
    assert (training["input"], training["output"]) == (IMAGE, OUTPUT)
    reader = tf.train.load_checkpoint(str(checkpoint))
    sizes = [np.prod(shape) for shape in reader.get_variable_to_shape_map().values()]
    assert imported.network == f"TensorFlow 1 checkpoint model, {sum(sizes):,.0f} parameters"


def test_operations_of_training_may_be_unknown(copy: Path, pixels: Any) -> None:
    """Trained with Horovod, say: only what the output depends on counts."""
    expected = read(copy).model.predict_on_batch(pixels[:2])

    def spoil(meta: Any) -> None:
        node = next(node for node in meta.graph_def.node if node.name.startswith("gradients/"))
        node.op = "HorovodAllreduce"

    edit_graph(copy, spoil)
    np.testing.assert_array_equal(read(copy).model.predict_on_batch(pixels[:2]), expected)


@pytest.mark.parametrize("suffix", [".meta", ".index", ".data-00000-of-00001"])
def test_a_missing_file_is_named(suffix: str, copy: Path) -> None:
    copy.with_name(copy.name + suffix).unlink()
    with pytest.raises(ModelError, match=rf"copy/model: model\{suffix} missing; the folder has "):
        read(copy)


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.meta, model\.index, .* missing; the folder has no file"):
        read(tmp_path / "nowhere" / "model")


@pytest.mark.parametrize("suffix", [".meta", ".index", ".data-00000-of-00001"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_file_is_named(suffix: str, share: float, copy: Path) -> None:
    path = copy.with_name(copy.name + suffix)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(ModelError, match=r"copy/model(\.meta)?: (can't be read as|holds no graph)"):
        read(copy)


@pytest.mark.parametrize(
    ("image", "output", "message"),
    [
        ("input_2:0", OUTPUT, r"input input_2:0: no such tensor; the graph's placeholders: input_1:0 "),
        (
            "stem/gamma:0",
            OUTPUT,
            r"input stem/gamma:0: made by VariableV2, expected a placeholder; .*input_1:0",
        ),
        (
            "norm_dense_1_target:0",
            OUTPUT,
            r"input norm_dense_1_target:0: \(None, 2\); expected one square image",
        ),
        (IMAGE, "dense_3/Softmax:0", r"no such tensor; the graph's softmaxes: norm_dense_2/Softmax:0$"),
        (
            IMAGE,
            "norm_dense_2/MatMul:0",
            r"made by MatMul, expected probabilities from Softmax; .*softmaxes: norm",
        ),
        (IMAGE, "", r"output :0: no such tensor"),
    ],
)
def test_a_wrong_tensor_is_named_with_the_candidates(
    image: str, output: str, message: str, checkpoint: Path
) -> None:
    with pytest.raises(ModelError, match=rf"model\.meta: .*{message}"):
        read(checkpoint, image, output)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(channels=(4,)), r"variable stem/kernel is \(7, 7, 3, 6\); the graph expects \(7, 7, 3, 4\)"),
        (Recipe(repeats=(2,)), r"has no variable block_0_1/\S+.*the closest: block_0_0/"),
    ],
)
def test_the_meta_graph_of_another_checkpoint(
    recipe: Recipe, message: str, copy: Path, tmp_path: Path
) -> None:
    other = write_checkpoint(tmp_path / "other", recipe)
    shutil.copy(f"{other}.meta", f"{copy}.meta")
    with pytest.raises(ModelError, match=rf"copy/model: {message}"):
        read(copy)


def test_three_classes(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path / "model", Recipe(classes=3))
    with pytest.raises(
        ModelError, match=r"norm_dense_2/Softmax:0: \(1, 3\) for one image; expected \(1, 2\)"
    ):
        read(prefix)


def shaped(*lengths: int) -> Callable[[Any], None]:
    def change(meta: Any) -> None:
        shape = named(meta, "input_1").attr["shape"].shape
        del shape.dim[:]
        for length in lengths:
            shape.dim.add(size=length)

    return change


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ((-1, 3, 64, 64), r"\(None, 3, 64, 64\), channels first"),
        ((-1, 64, 32, 3), "expected one square image"),
        ((-1, -1, -1, 3), "expected one square image"),
        ((8, 64, 64, 3), "expected one square image"),
        ((-1, 64, 64, 4), "expected one square image"),
        ((), r"input input_1:0: \(\); expected one square image"),
        ((-1, 96, 96, 3), "can't be frozen|can't be run on one image"),
    ],
)
def test_other_layouts_of_the_image(lengths: tuple[int, ...], message: str, copy: Path) -> None:
    edit_graph(copy, shaped(*lengths))
    with pytest.raises(ModelError, match=message):
        read(copy)


def python_code(marker: Path) -> Callable[[Any], Any]:
    def leave_a_mark(x: Any) -> Any:
        marker.write_text("run")
        return x

    return lambda x: tf.ensure_shape(v1.py_func(leave_a_mark, [x], tf.float32), x.shape)


def eager_code(marker: Path) -> Callable[[Any], Any]:
    def leave_a_mark(x: Any) -> Any:
        marker.write_text("run")
        return x

    return lambda x: tf.ensure_shape(tf.py_function(leave_a_mark, [x], tf.float32), x.shape)


def reads_a_file(marker: Path) -> Callable[[Any], Any]:
    marker.with_name("secret").write_bytes(b"\0" * 4)
    return lambda x: x + tf.io.decode_raw(tf.io.read_file(str(marker.with_name("secret"))), tf.float32)


def writes_a_file(marker: Path) -> Callable[[Any], Any]:
    def change(x: Any) -> Any:
        with tf.control_dependencies([tf.io.write_file(str(marker), "run")]):
            return tf.identity(x)

    return change


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (python_code, r"\(PyFunc\w*\) calls Python code"),
        (eager_code, r"\(EagerPyFunc\) calls Python code"),
        (reads_a_file, "has the operation (DecodeRaw|ReadFile)"),
        (writes_a_file, None),  # An order of side effects: it is left out, as in inference it does nothing.
    ],
)
def test_nothing_of_a_stranger_is_run(code: Any, message: str | None, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    prefix = write_checkpoint(tmp_path / "model", Recipe(change=code(marker)))
    if message is None:
        read(prefix)
    else:
        with pytest.raises(ModelError, match=rf"model\.meta: node \S+ {message}"):
            read(prefix)
    assert not marker.exists()


def test_code_within_the_branch_of_inference_is_found(tmp_path: Path) -> None:
    prefix = write_checkpoint(tmp_path / "model", Recipe(functional_conditions=True))

    def hide(meta: Any) -> None:
        """In the function that the first condition calls."""
        called = named(meta, "cond").attr["else_branch"].func.name
        branch = next(f for f in meta.graph_def.library.function if f.signature.name == called)
        next(node for node in branch.node_def if node.op == "FusedBatchNormV3").op = "EagerPyFunc"

    edit_graph(prefix, hide)
    with pytest.raises(ModelError, match=r"\(EagerPyFunc\) calls Python code"):
        read(prefix)


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    """TensorFlow dies of it, with the process."""
    prefix = write_checkpoint(tmp_path / "model", Recipe(functional_conditions=True))

    def recurse(meta: Any) -> None:
        condition = named(meta, "cond")
        name = condition.attr["else_branch"].func.name
        branch = next(f for f in meta.graph_def.library.function if f.signature.name == name)
        again = branch.node_def.add(name="again", op="StatefulPartitionedCall")
        again.input.extend(argument.name for argument in branch.signature.input_arg)
        again.attr["Tin"].CopyFrom(condition.attr["Tin"])
        again.attr["Tout"].CopyFrom(condition.attr["Tout"])
        again.attr["f"].func.name = name
        branch.ret[branch.signature.output_arg[0].name] = "again:output:0"

    edit_graph(prefix, recurse)
    with pytest.raises(ModelError, match=r"functions \S+, \S+: call themselves"):
        read(prefix)


def test_the_saver_of_the_graph_is_not_run(copy: Path, pixels: Any, tmp_path: Path) -> None:
    """`Saver.restore` would run whatever node the meta graph names."""
    expected = read(copy).model.predict_on_batch(pixels[:2])

    def hijack(meta: Any) -> None:
        with tf.Graph().as_default() as graph:
            tf.io.write_file(str(tmp_path / "marker"), "run", name="hijacked")
        meta.graph_def.node.extend(graph.as_graph_def().node)
        meta.saver_def.restore_op_name = "hijacked"

    edit_graph(copy, hijack)
    np.testing.assert_array_equal(read(copy).model.predict_on_batch(pixels[:2]), expected)
    assert not (tmp_path / "marker").exists()


def test_an_unknown_operation_is_named(copy: Path) -> None:
    edit_graph(copy, lambda meta: setattr(named(meta, "Relu"), "op", "GlobalGuessing2D"))
    with pytest.raises(ModelError, match=r"model\.meta: node Relu has the operation GlobalGuessing2D"):
        read(copy)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    suffix=st.sampled_from([".meta", ".index", ".data-00000-of-00001"]),
    places=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8
    ),
)
def test_damaged_bytes_are_a_model_error_or_still_a_network(
    suffix: str, places: list[tuple[float, int]], checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint.parent, folder, dirs_exist_ok=True)
    path = folder / (checkpoint.name + suffix)
    data = bytearray(path.read_bytes())
    for place, value in places:
        data[int(place * len(data))] = value
    path.write_bytes(data)
    try:
        found = read(folder / checkpoint.name).model.predict_on_batch(np.zeros((1, 64, 64, 3), np.float32))
    except ModelError as error:
        assert str(error).startswith(str(folder))  # noqa: PT017
    else:
        assert found.shape == (1, 2)
