"""A deploy net in other engines: PyTorch, from the prototxt's fields, and OpenCV's DNN, which reads the files themselves."""

import cv2
import numpy as np
import torch
import torch.nn.functional as F


def in_torch(message, params, inputs: np.ndarray) -> np.ndarray:
    """The last blob of a NetParameter for `inputs`; `params` is layer name -> its blobs as arrays. Written for inference."""
    blobs = {message.layer[0].top[0]: torch.from_numpy(inputs)}
    with torch.no_grad():
        for layer in message.layer[1:]:
            weights = [torch.from_numpy(np.array(blob)) for blob in params.get(layer.name, [])]
            bottoms = [blobs[name] for name in layer.bottom]
            blobs[layer.top[0]] = OPERATIONS[layer.type](layer, *bottoms, *weights)
    return blobs[message.layer[-1].top[0]].numpy()


def in_opencv(prototxt, caffemodel, inputs: np.ndarray) -> np.ndarray:
    """The last blob for `inputs`, of a net that OpenCV reads by itself."""
    net = cv2.dnn.readNetFromCaffe(str(prototxt), str(caffemodel))
    net.setInput(inputs)
    return net.forward()


def _convolution(layer, bottom, weight, bias):
    param = layer.convolution_param
    dilation = param.dilation[0] if len(param.dilation) else 1
    stride, pad = param.stride[0] if len(param.stride) else 1, param.pad[0] if len(param.pad) else 0
    return F.conv2d(bottom, weight, bias, stride=stride, padding=pad, dilation=dilation)


def _deconvolution(layer, bottom, weight):
    param = layer.convolution_param
    pad = param.pad[0] if len(param.pad) else 0
    return F.conv_transpose2d(bottom, weight, stride=param.stride[0], padding=pad, groups=param.group)


def _pooling(layer, bottom):
    param = layer.pooling_param
    if param.pool == param.AVE:
        return F.avg_pool2d(bottom, param.kernel_size, param.stride, param.pad, ceil_mode=True, count_include_pad=True)
    return F.max_pool2d(bottom, param.kernel_size, param.stride, param.pad, ceil_mode=True)


def _crop(layer, bottom, like):
    (offset,), (height, width) = layer.crop_param.offset, like.shape[2:]
    return bottom[:, :, offset : offset + height, offset : offset + width]


def _reflect_pad(layer, bottom):
    return F.pad(bottom, (int(layer.python_param.param_str),) * 4, mode='reflect')


OPERATIONS = {
    'Convolution': _convolution,
    'Crop': _crop,
    'Deconvolution': _deconvolution,
    'Eltwise': lambda layer, *bottoms: sum(bottoms),
    'Pooling': _pooling,
    'Power': lambda layer, bottom: (layer.power_param.shift + layer.power_param.scale * bottom) ** layer.power_param.power,
    'Python': _reflect_pad,
    'ReLU': lambda layer, bottom: F.relu(bottom),
    'Dropout': lambda layer, bottom: bottom,
    'Softmax': lambda layer, bottom: F.softmax(bottom, dim=1),
}
