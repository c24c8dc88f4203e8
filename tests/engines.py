"""Runs a deploy net in onnxruntime, which gets it as ONNX, and in OpenCV, which reads prototxt and caffemodel itself."""

import cv2
import numpy as np
import onnx
import onnxruntime

from tools.inference.onnx_net import onnx_model


def run_onnx(model: onnx.ModelProto, inputs: np.ndarray) -> np.ndarray:
    """The only output of a model with one input, by onnxruntime on the CPU."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def in_onnxruntime(message, params, inputs: np.ndarray) -> np.ndarray:
    """The last blob of a NetParameter for `inputs`; `params` is layer name -> its blobs as arrays."""
    return run_onnx(onnx_model(message, params), inputs)


def in_opencv(prototxt, caffemodel, inputs: np.ndarray) -> np.ndarray:
    """The last blob for `inputs` of the net in two files."""
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    net.setInput(inputs)
    return net.forward()
