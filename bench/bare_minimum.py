"""The least that infers one JPEG: Python, numpy, an engine, Pillow; for `bench/measure_command.py`.

    python bench/bare_minimum.py tflite MODEL.tflite scan.jpg [INFERENCES [THREADS]]

Prints the milliseconds of each inference. Given only an engine, it imports numpy and that, and ends. The model takes
float32, 1 x 480 x 480 x channels. Every engine is as its makers set it, but for OpenVINO's float32, which stays that
(docs/engines.md).
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


def open_model(path, threads):
    """A function of the pixels, and how many channels they have."""
    if engine == "tflite":
        interpreter = Interpreter(model_path=path, num_threads=threads)
        interpreter.allocate_tensors()
        run = interpreter.get_signature_runner()
        ((name, details),) = run.get_input_details().items()
        return lambda pixels: run(**{name: pixels}), details["shape"][3]
    if engine == "onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        image = session.get_inputs()[0]
        return lambda pixels: session.run(None, {image.name: pixels}), image.shape[3]
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()
    return lambda pixels: request.infer([pixels]), compiled.input(0).shape[3]


def decode(path, channels):
    from PIL import Image

    with Image.open(path) as image:
        image.draft("L", (DECODED, DECODED))
        plane = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    return np.repeat(np.asarray(plane, np.float32)[np.newaxis, :, :, np.newaxis], channels, axis=3)


if rest:
    model, jpeg, inferences, threads = (*rest, *("1", "1")[len(rest) - 2 :])
    infer, channels = open_model(model, int(threads))
    pixels = decode(jpeg, channels)
    for _ in range(int(inferences)):
        started = time.perf_counter()
        infer(pixels)
        sys.stdout.write(f"{1000 * (time.perf_counter() - started)}\n")
