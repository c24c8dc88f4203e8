"""Ways to use the convolutions of the CUDA build, each in a process: python scenarios.py NAME cpu|gpu OUT.npy

Run it in a folder with net.prototxt. Each scenario computes the gradients of the first convolution several times, for the same
net, weights and input. OUT.npy gets one row per time, and all rows of a device should be equal. `windows` writes everything
that it computed in one row.
"""

import sys
import tempfile
import threading

import caffe
import numpy as np

SIDE, LARGER_SIDE = 32, 96
KEPT = []  # alive until the process ends

# Height, width, and the parameters of a convolution; after a minus, those of a deconvolution.
WINDOWS = (
    (37, 29, 'kernel_size: 3'), (37, 29, 'kernel_size: 3 pad: 1'), (41, 30, 'kernel_size: 3 pad: 4 dilation: 4'),
    (40, 33, 'kernel_size: 7 dilation: 4'), (33, 20, 'kernel_size: 3 pad: 20 dilation: 2 group: 2'),
    (31, 31, 'kernel_size: 3 stride: 2 pad: 1'), (20, 23, 'kernel_size: 1'), (9, 7, '-kernel_size: 4 stride: 2 pad: 1 group: 4'),
    (21, 18, '-kernel_size: 3 pad: 1'), (17, 19, 'kernel_size: 3 pad: 1 force_nd_im2col: true'),
)  # fmt: skip
WINDOW_NET = """
force_backward: true
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 4 dim: HEIGHT dim: WIDTH } } }
layer { name: "conv" type: "TYPE" bottom: "data" top: "conv" convolution_param { num_output: 8 PARAMETERS } }
"""


def new_net(side=SIDE):
    """A new net for inputs of `side` pixels, always with the same weights."""
    net = caffe.Net('net.prototxt', caffe.TEST)
    net.blobs['data'].reshape(2, 3, side, side)
    net.reshape()
    random = np.random.RandomState(0)
    for blobs in net.params.values():
        blobs[0].data[...] = random.randn(*blobs[0].shape) / 10
    return net


def gradient(net):
    """Gradient of the first convolution for a fixed input."""
    blob = net.blobs['data']
    blob.data[...] = np.random.RandomState(1).rand(*blob.shape)
    net.params['conv'][0].diff[...] = 0
    net.forward(start='conv')
    net.backward()
    return net.params['conv'][0].diff.copy()


def use(device):
    """Compute on 'cpu', on 'gpu' (the first), or on a GPU by number, in the calling thread."""
    if device == 'cpu':
        caffe.set_mode_cpu()
        return
    caffe.set_device(0 if device == 'gpu' else device)
    caffe.set_mode_gpu()


def in_turn(device):
    """Two nets of one thread, each twice in turn."""
    use(device)
    nets = [new_net(), new_net()]
    return [gradient(net) for net in (*nets, *nets)]


def growing(device):
    """Between two passes of a net, another net makes the shared buffer grow."""
    use(device)
    small, large = new_net(), new_net(LARGER_SIDE)
    return [gradient(small), gradient(large) * 0 + gradient(small), gradient(small)]


def threads(device):
    """Four threads at once, each with its own net and buffer; they end before the process."""
    found = []

    def work():
        use(device)
        net = new_net()
        for _ in range(5):
            found.append(gradient(net))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return found


def modes(device):
    """A thread that computes on the CPU, on the device and again on the CPU; two gradients of the device."""
    use('cpu')
    on_cpu = new_net()
    before = gradient(on_cpu)
    use(device)
    net = new_net()
    found = [gradient(net), gradient(net)]
    use('cpu')
    assert np.array_equal(before, gradient(on_cpu))
    return found


def left_alive(device):
    """Nets that nobody frees: one of the main thread, one of a thread that still runs when the process ends."""
    ready = threading.Event()

    def stay():
        use(device)
        KEPT.append(new_net())
        gradient(KEPT[-1])
        ready.set()
        threading.Event().wait()

    threading.Thread(target=stay, daemon=True).start()
    ready.wait()
    use(device)
    KEPT.append(new_net())
    return [gradient(KEPT[-1]), gradient(KEPT[-1])]


def windows(device):
    """Outputs and all gradients of WINDOWS; gradients of weights are added to what is there."""
    use(device)
    found = []
    for height, width, parameters in WINDOWS:
        text = WINDOW_NET.replace('HEIGHT', str(height)).replace('WIDTH', str(width))
        kind = 'Deconvolution' if parameters.startswith('-') else 'Convolution'
        text = text.replace('TYPE', kind).replace('PARAMETERS', parameters.lstrip('-'))
        with tempfile.NamedTemporaryFile('w', suffix='.prototxt') as file:
            file.write(text)
            file.flush()
            net = caffe.Net(file.name, caffe.TEST)
        random = np.random.RandomState(2)
        for blob in (net.blobs['data'], *net.params['conv']):
            blob.data[...] = random.rand(*blob.shape) - 0.5
            blob.diff[...] = 0.25
        net.forward()
        net.blobs['conv'].diff[...] = random.rand(*net.blobs['conv'].shape) - 0.5
        net.backward()
        found += [net.blobs['conv'].data.copy(), *(blob.diff.copy() for blob in (net.blobs['data'], *net.params['conv']))]
    return [np.concatenate([values.ravel() for values in found])]


def two_gpus(device):
    """A thread that changes from one GPU to another and back."""
    use(0)
    first = new_net()
    found = [gradient(first)]
    use(1)
    second = new_net()
    found += [gradient(second)]
    use(0)
    return [*found, gradient(first)]


if __name__ == '__main__':
    scenario, device, out = sys.argv[1:]
    np.save(out, globals()[scenario](device))
