"""The least that infers one JPEG: Python, numpy, an engine, Pillow; for `bench/measure_command.py`.

    python bench/bare_minimum.py tflite MODEL.tflite scan.jpg [INFERENCES]

Prints the milliseconds of each inference, on one thread. Given only an engine, it imports numpy and that, and ends.
"""

import os
import sys
import time

import numpy as np

SIDE, DECODED = 480, 522
"""Pixels a side of the network's input, and that a reduced JPEG keeps at least, as `cxrs-edge predict` has it."""
# Neither may report its use (cxrs_edge.engines.telemetry).
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
sys.modules["openvino_telemetry"] = None

engine, *rest = sys.argv[1:]
if engine == "tflite":
    from ai_edge_litert.interpreter import Interpreter
elif engine == "onnx":
    import onnxruntime
else:
    import openvino


def open_model(path):
    """A function of the pixels, float32, 1 x 480 x 480 x 1."""
    if engine == "tflite":
        interpreter = Interpreter(model_path=path, num_threads=1)
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner()
        (name,) = run.get_input_details()
        return lambda pixels: run(**{name: pixels})
    if engine == "onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda pixels: session.run(None, {session.get_inputs()[0].name: pixels})
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda pixels: request.infer([pixels])


def decode(path):
    from PIL import Image

    with Image.open(path) as image:
        image.draft("L", (DECODED, DECODED))
        plane = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.asarray(plane, np.float32)[np.newaxis, :, :, np.newaxis]


if rest:
    model, jpeg, *count = rest
    infer, pixels = open_model(model), decode(jpeg)
    for _ in range(int(*count or [1])):
        started = time.perf_counter()
        infer(pixels)
        sys.stdout.write(f"{1000 * (time.perf_counter() - started)}\n")
