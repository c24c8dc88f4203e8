"""A net that only Caffe can set up: its shapes from Caffe itself, in a process of its own, which may abort or take much memory.

Run as a program with a prototxt and a phase, it prints the layers as JSON.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

from tools.netinfo.inference import Layer, View
from tools.netinfo.layer_rules import Made
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.paths import ROOT


def layers_by_caffe(path: Path, phase: str) -> list[Layer]:
    """The layers of the prototxt at `path`: names, types, shapes. What a layer keeps, computes and sees is not known: zero.

    Raises UserError with Caffe's words if it cannot set the net up.
    """
    command = [sys.executable, '-m', 'tools.netinfo.by_caffe', str(path.resolve()), phase]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        words = [line for line in done.stderr.splitlines() if re.match(r'F\d{8} ', line)]  # glog's fatal lines
        reason = (words or done.stderr.splitlines() or ['no message'])[-1]
        raise UserError(f'{path}: Caffe cannot set it up ({reason.partition("] ")[2] or reason})')
    return [_layer(row) for row in json.loads(done.stdout)]


def _layer(row: dict) -> Layer:
    """A Layer from a row of the program's output; gradients are taken to go everywhere."""
    made = Made([tuple(shape) for shape in row['shapes']], tuple(tuple(shape) for shape in row['params']))
    bottoms, tops = tuple(row['bottoms']), tuple(row['tops'])
    return Layer(row['name'], row['type'], bottoms, tops, made, View(), True, (True,) * len(bottoms))


def _rows(path: str, phase: str) -> list[dict]:
    """The layers of a net that Caffe has set up; the splits that it adds are left out."""
    caffe = import_caffe()
    net = caffe.Net(path, caffe.TRAIN if phase == 'train' else caffe.TEST)
    layers = list(zip(net._layer_names, net.layers, strict=True))
    split = [name for name, layer in layers if layer.type == 'Split']
    whole = {top: net.bottom_names[name][0] for name in split for top in net.top_names[name]}
    return [
        {
            'name': name,
            'type': layer.type,
            'bottoms': [whole.get(blob, blob) for blob in net.bottom_names[name]],
            'tops': list(net.top_names[name]),
            'shapes': [list(net.blobs[blob].shape) for blob in net.top_names[name]],
            'params': [list(blob.shape) for blob in layer.blobs],
        }
        for name, layer in layers
        if name not in split
    ]


if __name__ == '__main__':
    print(json.dumps(_rows(sys.argv[1], sys.argv[2])))
