"""Labels images as fyu/dilation's predict.py and test.py do, in code of our own: `make bench` compares with it.

It runs in its own process, with the Caffe to be measured first on PYTHONPATH, and imports nothing of this toolkit.
"""

import os
import sys
import time

os.environ.setdefault('GLOG_minloglevel', '2')

import caffe
import cv2
import numba
import numpy as np

MARGIN = 186


@numba.jit(nopython=True)
def interp_map(prob, zoom, width, height):
    """Bilinear interpolation of every class at every pixel; the map must reach one cell beyond the image."""
    enlarged = np.zeros((prob.shape[0], height, width), dtype=np.float32)
    for c in range(prob.shape[0]):
        for h in range(height):
            for w in range(width):
                r0, c0 = h // zoom, w // zoom
                r1, c1 = r0 + 1, c0 + 1
                rt, ct = float(h) / zoom - r0, float(w) / zoom - c0
                v0 = rt * prob[c, r1, c0] + (1 - rt) * prob[c, r0, c0]
                v1 = rt * prob[c, r1, c1] + (1 - rt) * prob[c, r0, c1]
                enlarged[c, h, w] = (1 - ct) * v0 + ct * v1
    return enlarged


def labels_of(prob, zoom, width, height):
    """Class ids, int64 (height, width)."""
    prob = interp_map(prob, zoom, width, height) if zoom > 1 else prob[:, :height, :width]
    return np.argmax(prob.transpose([1, 2, 0]), axis=2)


def predict(net, image, mean_bgr, zoom):
    """Class ids, int64 (H, W), of an image uint8 (H, W, 3) BGR."""
    height, width = net.blobs['data'].shape[2:]
    image = image.astype(np.float32) - np.array(mean_bgr, np.float32)
    padded = cv2.copyMakeBorder(image, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REFLECT_101)
    rows = []
    for top in range(0, image.shape[0], height - 2 * MARGIN):
        maps = []
        for left in range(0, image.shape[1], width - 2 * MARGIN):
            tile = padded[top : top + height, left : left + width]
            below, right = height - tile.shape[0], width - tile.shape[1]
            tile = cv2.copyMakeBorder(tile, 0, below, 0, right, cv2.BORDER_REFLECT_101)
            maps.append(net.forward_all(data=tile.transpose([2, 0, 1])[np.newaxis])['prob'][0].copy())
        rows.append(np.concatenate(maps, axis=2))
    return labels_of(np.concatenate(rows, axis=1), zoom, image.shape[1], image.shape[0])


def main():
    """DEPLOY WEIGHTS ZOOM MEAN_B MEAN_G MEAN_R OUT IMAGE... ; prints the seconds of each image."""
    deploy, weights, zoom, *mean, out = sys.argv[1:8]
    caffe.set_mode_cpu()
    net = caffe.Net(deploy, weights, caffe.TEST)
    for path in sys.argv[8:]:
        begun = time.perf_counter()
        labels = predict(net, cv2.imread(path, cv2.IMREAD_COLOR), [float(value) for value in mean], int(zoom))
        cv2.imwrite(os.path.join(out, os.path.splitext(os.path.basename(path))[0] + '.png'), labels.astype(np.uint8))
        print(time.perf_counter() - begun, flush=True)


if __name__ == '__main__':
    main()
