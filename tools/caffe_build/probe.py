"""One question to the Caffe that `import caffe` finds, answered by the exit status: 0 yes, else no.

A failed check in Caffe ends the process, so each question gets a process of its own: python probe.py QUESTION
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

NEEDED_LAYERS = frozenset(
    ['Convolution', 'Crop', 'Data', 'Deconvolution', 'Dropout', 'DummyData', 'Input', 'Pooling', 'Python', 'ReLU', 'Slice']
    + ['InfogainLoss', 'Softmax', 'SoftmaxWithLoss']
)
INPUT = 'layer {{ name: "data" type: "Input" top: "data" input_param {{ shape {{ {dims} }} }} }}\n'


def layers() -> bool:
    """Whether every type of layer that the networks use is there; prints those that are not."""
    import caffe

    missing = sorted(NEEDED_LAYERS - set(caffe.layer_type_list()))
    print(', '.join(missing))
    return not missing


def dilation() -> bool:
    """Whether a convolution with dilation 2 takes the first and third of three values."""
    import caffe

    net = net_of(
        INPUT.format(dims='dim: 1 dim: 1 dim: 3 dim: 3') + 'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"\n'
        '  convolution_param { num_output: 1 kernel_size: 2 dilation: 2 bias_term: false } }\n',
        caffe,
    )
    net.blobs['data'].data[...] = np.arange(9).reshape(1, 1, 3, 3)
    net.params['conv'][0].data[...] = np.array([1, 10, 100, 1000]).reshape(1, 1, 2, 2)
    return float(net.forward()['conv'].squeeze()) == 0 * 1 + 2 * 10 + 6 * 100 + 8 * 1000


def lmdb() -> bool:
    """Whether a Data layer reads back what the package lmdb wrote."""
    import caffe
    import lmdb

    with tempfile.TemporaryDirectory() as folder:
        datum = caffe.proto.caffe_pb2.Datum(channels=4, height=1, width=1, data=bytes([1, 2, 3, 255]))
        with lmdb.open(f'{folder}/db', map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
            transaction.put(b'0', datum.SerializeToString())
        source = f'data_param {{ source: "{folder}/db" backend: LMDB batch_size: 1 }}'
        net = net_of(f'layer {{ name: "data" type: "Data" top: "data" {source} }}\n', caffe)
        return net.forward()['data'].ravel().tolist() == [1, 2, 3, 255]


def large_files() -> bool:
    """Whether a caffemodel of more than 512 MiB loads: one with a field of zeros that Caffe does not know."""
    import caffe

    size = 513 << 20
    with tempfile.NamedTemporaryFile(suffix='.caffemodel') as file:
        file.write(varint(20000 << 3 | 2) + varint(size))
        file.truncate(file.tell() + size)
        file.flush()
        net_of(INPUT.format(dims='dim: 1'), caffe).copy_from(file.name)
    return True


def gpu() -> bool:
    """Whether this Caffe can use the first GPU."""
    import caffe

    caffe.set_mode_gpu()
    caffe.set_device(0)
    return True


def net_of(prototxt: str, caffe):
    """A net in phase TEST from the text of its prototxt."""
    with tempfile.NamedTemporaryFile('w', suffix='.prototxt') as file:
        file.write(prototxt)
        file.flush()
        return caffe.Net(file.name, caffe.TEST)


def varint(number: int) -> bytes:
    """A number as protobuf writes it: 7 bits a byte, the lowest first."""
    out = []
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


QUESTIONS: dict[str, Callable[[], bool]] = {
    question.__name__: question for question in (layers, dilation, lmdb, large_files, gpu)
}

if __name__ == '__main__':
    sys.path.remove(str(Path(__file__).parent))  # `lmdb` and others must not be looked for beside this file
    sys.exit(0 if QUESTIONS[sys.argv[1]]() else 1)
