"""VGG-16 without padding, so that its first layer can be folded exactly, from pixels to fc7: in PyTorch and in real Caffe."""

import numpy as np
import torch

from prototxt.experiments import FrontEnd
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
NARROW = FrontEnd(trunk=(2, 3, 4, 5, 6), fc=7)
BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each group of VGG-16
SIDE = 404  # unpadded, this leaves a map of 7x7 cells after the last pooling, and no pooling has to round
CLASSES = 10
# torchvision's documentation of VGG16_Weights.IMAGENET1K_V1
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])


class TorchVGG(torch.nn.Module):
    """As torchvision builds VGG-16 (its names are its weights' names), but for the padding, and cut after fc8."""

    def __init__(self, widths: FrontEnd = NARROW, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        layers: list[torch.nn.Module] = []
        channels = 3
        for width, count in zip(widths.trunk, BLOCKS, strict=True):
            for _ in range(count):
                layers += [torch.nn.Conv2d(channels, width, 3), torch.nn.ReLU()]
                channels = width
            layers.append(torch.nn.MaxPool2d(2, 2))
        self.features = torch.nn.Sequential(*layers)
        dense = [
            torch.nn.Linear(channels * 49, widths.fc),
            torch.nn.Linear(widths.fc, widths.fc),
            torch.nn.Linear(widths.fc, CLASSES),
        ]
        parts = [dense[0], torch.nn.ReLU(), torch.nn.Dropout(), dense[1], torch.nn.ReLU(), torch.nn.Dropout(), dense[2]]
        self.classifier = torch.nn.Sequential(*parts)
        for layer in self.modules():
            if isinstance(layer, torch.nn.Conv2d | torch.nn.Linear):
                layer.weight.data.normal_(0, (2 / layer.weight[0].numel()) ** 0.5)
                layer.bias.data.normal_(0, 0.1)

    @torch.no_grad()
    def fc7(self, pixels_rgb: np.ndarray) -> np.ndarray:
        """fc7 before its ReLU, of an image uint8 (H, W, 3), normalized as torchvision does it."""
        image = (torch.from_numpy(pixels_rgb.copy()).float() / 255 - MEAN) / STD
        maps = self.features(image.permute(2, 0, 1)[None])
        return self.eval().classifier[:4](maps.flatten(1))[0].numpy()


def image_rgb(seed: int = 0) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): noise over a slope of colour, so that neither order nor orientation can be mistaken."""
    slope = np.stack(np.broadcast_arrays(np.linspace(0, 200, SIDE)[:, None], 40, np.linspace(120, 0, SIDE)[None]), axis=2)
    return (slope + np.random.default_rng(seed).uniform(0, 55, (SIDE, SIDE, 3))).astype(np.uint8)


def caffe_net(widths: FrontEnd = NARROW) -> str:
    """The prototxt of the same network with fc6 and fc7 as convolutions, as the front end has them."""
    lines, top = (
        [f"layer {{ name: 'data' type: 'Input' top: 'data' input_param {{ shape {{ {_dims(1, 3, SIDE, SIDE)} }} }} }}"],
        'data',
    )
    for group, (width, count) in enumerate(zip(widths.trunk, BLOCKS, strict=True), 1):
        for i in range(1, count + 1):
            lines += _convolution(f'conv{group}_{i}', top, width, 3)
            top = f'conv{group}_{i}'
        pool = 'pooling_param { pool: MAX kernel_size: 2 stride: 2 }'
        lines.append(f"layer {{ name: 'pool{group}' type: 'Pooling' bottom: '{top}' top: 'pool{group}' {pool} }}")
        top = f'pool{group}'
    return '\n'.join([*lines, *_convolution('fc6', top, widths.fc, 7), _convolution('fc7', 'fc6', widths.fc, 1)[0]])


def caffe_fc7(folder, weights_path, pixels_rgb: np.ndarray, widths: FrontEnd = NARROW) -> np.ndarray:
    """fc7 of an image uint8 (H, W, 3), as real Caffe computes it from blue, green, red minus the mean."""
    (folder / 'net.prototxt').write_text(caffe_net(widths))
    net = caffe.Net(str(folder / 'net.prototxt'), str(weights_path), caffe.TEST)
    net.blobs['data'].data[0] = (pixels_rgb[:, :, ::-1] - CAFFE_MEAN_BGR).transpose(2, 0, 1)
    net.forward()
    return net.blobs['fc7'].data.reshape(-1).copy()


def _dims(*sides: int) -> str:
    return ' '.join(f'dim: {side}' for side in sides)


def _convolution(name: str, bottom: str, width: int, kernel: int) -> list[str]:
    param = f'convolution_param {{ num_output: {width} kernel_size: {kernel} }}'
    return [
        f"layer {{ name: '{name}' type: 'Convolution' bottom: '{bottom}' top: '{name}' {param} }}",
        f"layer {{ name: 'relu_{name}' type: 'ReLU' bottom: '{name}' top: '{name}' }}",
    ]
