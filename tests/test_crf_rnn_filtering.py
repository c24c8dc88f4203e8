"""Filtering by the permutohedral lattice, against brute force in double precision, and the mean field on top of it."""

import importlib
import sys

import numpy as np
import pytest

from tools.crfs import compiled
from tools.crfs.lattice import Lattice, _vertex_key, embed
from tools.crfs.mean_field import (
    Kernel,
    MeanField,
    Parameters,
    Thetas,
    bilateral_kernel,
    potts,
    softmax,
    spatial_kernel,
)

densecrf = importlib.import_module('pydensecrf.densecrf') if sys.version_info < (3, 13) else None
HW = 24, 31


def features_of(deviations: tuple[float, ...], image: np.ndarray) -> np.ndarray:
    """(n, 2) or (n, 5): x, y and perhaps the colours of an image (3, H, W), in standard deviations."""
    rows, columns = np.mgrid[: image.shape[1], : image.shape[2]]
    channels = [columns / deviations[0], rows / deviations[0], *(image / deviations[1] if len(deviations) > 1 else ())]
    return np.stack(channels, axis=-1).reshape(-1, len(channels)).astype(float)


def brute_force(features: np.ndarray) -> np.ndarray:
    """(n, n): exp(-|f_i - f_j|^2 / 2)."""
    return np.exp(-((features[:, None] - features[None]) ** 2).sum(axis=-1) / 2)


def matrix_of(lattice: Lattice, size: int, **options) -> np.ndarray:
    """(n, n): the lattice's filter as a matrix, one impulse at a time."""
    return lattice.filter(np.eye(size), np.empty((size, size)), **options)


def scene(size_hw: tuple[int, int] = HW, dtype=float) -> np.ndarray:
    """(3, H, W): two surfaces of different colour, each shaded and noisy."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[: size_hw[0], : size_hw[1]]
    surface = np.where(columns > 14 + 4 * np.sin(rows / 5), 60.0, 150.0) + rows
    return (surface + random.normal(0, 4, (3, *size_hw))).astype(dtype)


def random_labels(classes: int, dtype=float) -> np.ndarray:
    """(n, C): one-hot labels in blobs of 4 x 4 pixels."""
    blocks = np.random.default_rng(5).integers(0, classes, (HW[0] // 4 + 1, HW[1] // 4 + 1))
    labels = np.kron(blocks, np.ones((4, 4), int))[: HW[0], : HW[1]]
    return np.eye(classes, dtype=dtype)[labels.ravel()]


def test_points_are_the_weighted_mean_of_their_vertices():
    """Barycentric coordinates: not negative, sum 1, and the vertices so weighted give the point back."""
    features = np.random.default_rng(0).normal(0, 3, (50, 3))
    origins, ranks, weights = np.empty((50, 4), np.int32), np.empty((50, 4), np.int8), np.empty((50, 4))
    embed(0, 50, features, origins, ranks, weights)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    # Adams et al., eq. 2 and 3: columns (1, -1, 0, 0), (1, 1, -2, 0), (1, 1, 1, -3), each of length 1, times sqrt(2/3) (d + 1).
    basis = np.array([[1, 1, 1], [-1, 1, 1], [0, -2, 1], [0, 0, -3]]) / np.sqrt([2, 6, 12]) * np.sqrt(2 / 3) * 4
    vertices = np.zeros((50, 4, 4))
    for point in range(50):
        for remainder in range(4):
            key = np.empty(3, np.int32)
            _vertex_key(origins[point], ranks[point], remainder, key)
            vertices[point, remainder] = [*key, -key.sum()]
            assert set((vertices[point, remainder] - remainder) % 4) == {0}
    np.testing.assert_allclose(np.einsum('pr,prk->pk', weights, vertices), features @ basis.T, atol=1e-9)


@pytest.mark.parametrize(
    ('deviations', 'largest', 'rms'), [((3.0,), 0.08, 0.02), ((160.0, 13.0), 0.1, 0.02), ((5.0, 20.0), 0.1, 0.025)]
)
def test_normalized_filter_is_near_the_gaussian(deviations, largest, rms):
    """Masks filtered by the lattice and by brute force, in double precision: an approximation, of a few per cent."""
    features, labels = features_of(deviations, scene()), random_labels(3)
    exact = brute_force(features)
    exact = exact @ labels / exact.sum(axis=1, keepdims=True)
    error = Kernel(features).filter(labels, np.empty_like(labels)) - exact
    assert np.abs(error).max() < largest
    assert np.sqrt((error**2).mean()) < rms
    assert np.sqrt(((labels - exact) ** 2).mean()) > 4 * rms  # the filter does something


def test_an_impulse_spreads_by_one_standard_deviation():
    """Mean squared distance that an impulse in the middle travels in two dimensions: 2 sigma^2."""
    height = width = 61
    features = features_of((4.0,), np.zeros((3, height, width)))
    impulse = np.zeros((height * width, 1))
    middle = height * width // 2
    impulse[middle] = 1
    spread = Lattice(features).filter(impulse, np.empty_like(impulse))[:, 0]
    squared = ((features - features[middle]) ** 2).sum(axis=1)
    assert (spread * squared).sum() / spread.sum() == pytest.approx(2, rel=0.1)


def test_transposed_filter_is_the_transpose():
    """The matrix is not symmetric where vertices have no neighbours, so the order of axes matters."""
    features = features_of((20.0, 15.0), scene())
    lattice = Lattice(features)
    matrix = matrix_of(lattice, len(features))
    assert np.abs(matrix - matrix.T).max() > 0.01
    np.testing.assert_allclose(matrix_of(lattice, len(features), transposed=True), matrix.T, atol=1e-12)


def test_same_bits_with_any_number_of_threads(monkeypatch):
    """Each sum is done by one thread in one order."""
    monkeypatch.setattr(compiled, 'WORTH_THREADS', 1)
    image, labels = scene(dtype=np.float32), random_labels(5, np.float32)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setenv('CRF_THREADS', str(threads))
        field = MeanField(spatial_kernel(HW, Thetas()), bilateral_kernel(image, Thetas()))
        logits = field.forward(labels, potts(5), 3, keep=True)
        results.append((logits, *field.backward(labels, potts(5))[1]))
    for one, *others in zip(*results, strict=True):
        for other in others:
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('value', [np.nan, np.inf, 1e7])
def test_features_beyond_the_lattice_are_refused(value):
    """They would become meaningless whole numbers."""
    with pytest.raises(ValueError, match='standard deviations'):
        Lattice(np.array([[0.0, value]]))


def test_softmax_of_large_logits():
    """Rows of exp(x) / sum(exp(x)), without overflow."""
    logits = np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]])
    e = np.e
    np.testing.assert_allclose(softmax(logits), [[e / (1 + e), 1 / (1 + e), 0], [1 / 3, 1 / 3, 1 / 3]])


SMALL = Thetas(alpha=8, beta=30, gamma=3)


def small_case(classes: int = 4) -> tuple[MeanField, np.ndarray, Parameters]:
    """A field on a small scene, unary logits (n, C), and parameters that are no special case; in double precision."""
    random = np.random.default_rng(1)
    image = scene((7, 9))
    start = potts(classes, 0.8, 1.2, np.float64)
    noise = (matrix + random.normal(0, 0.3, matrix.shape) for matrix in start)
    field = MeanField(spatial_kernel((7, 9), SMALL, np.float64), bilateral_kernel(image, SMALL))
    return field, random.normal(0, 1, (63, classes)), Parameters(*noise)


def test_iterations_are_those_of_the_paper():
    """Zheng et al., Algorithm 1, in plain NumPy on the two kernels as matrices, class by class."""
    _, unary, parameters = small_case()
    image = scene((7, 9))
    by_hand = unary
    for _ in range(3):
        q = np.exp(by_hand) / np.exp(by_hand).sum(axis=1, keepdims=True)
        message = np.zeros_like(q)
        for kernel, weights in (
            (spatial_kernel((7, 9), SMALL, np.float64), parameters.spatial),
            (bilateral_kernel(image, SMALL), parameters.bilateral),
        ):
            filtered = kernel.filter(np.eye(63), np.empty((63, 63))) @ q
            for influenced in range(4):
                for influencing in range(4):
                    message[:, influenced] += weights[influenced, influencing] * filtered[:, influencing]
        pairwise = np.einsum('ij,nj->ni', parameters.compatibility, message)
        by_hand = unary - pairwise
    field, _, _ = small_case()
    np.testing.assert_allclose(field.forward(unary, parameters, 3), by_hand, atol=1e-10)


def numerical(function, array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """The derivative of a number by each value of `array`, by central differences; `array` is changed and put back."""
    derivative = np.empty_like(array)
    for place in np.ndindex(array.shape):
        value = array[place]
        array[place] = value + step
        above = function()
        array[place] = value - step
        derivative[place] = (above - function()) / (2 * step)
        array[place] = value
    return derivative


@pytest.mark.parametrize('iterations', [1, 5])
def test_gradients_are_the_numerical_ones(iterations):
    """By each unary logit and each value of the three parameters, in double precision."""
    field, unary, parameters = small_case()
    weights = np.random.default_rng(2).normal(0, 1, unary.shape)  # of the sum whose derivative is taken
    field.forward(unary, parameters, iterations, keep=True)
    at_unary, at_parameters = field.backward(weights, parameters)

    def result() -> float:
        return float((weights * field.forward(unary, parameters, iterations)).sum())

    np.testing.assert_allclose(at_unary, numerical(result, unary), rtol=1e-6, atol=1e-7)
    for derivative, parameter in zip(at_parameters, parameters, strict=True):
        np.testing.assert_allclose(derivative, numerical(result, parameter), rtol=1e-6, atol=1e-6)
        assert np.abs(derivative).max() > 0.1


@pytest.mark.skipif(densecrf is None, reason='pydensecrf2 does not compile for Python 3.13')
def test_mean_field_is_pydensecrf_s():
    """The same energy, minimized by Kraehenbuehl's own code: Potts, each kernel's rows divided by their sums, ten iterations."""
    classes, image = 5, scene(dtype=np.float32)
    logits = 2 * random_labels(classes, np.float32) + np.random.default_rng(8).normal(0, 1, (HW[0] * HW[1], classes))
    prob = softmax(logits)
    crf = densecrf.DenseCRF2D(HW[1], HW[0], classes)
    crf.setUnaryEnergy(np.ascontiguousarray(-np.log(prob).T.astype(np.float32)))
    colours = np.ascontiguousarray(image.round().astype(np.uint8).transpose(1, 2, 0))
    crf.addPairwiseGaussian(3, 3, normalization=densecrf.NORMALIZE_AFTER)
    crf.addPairwiseBilateral(30, 13, colours, 5, normalization=densecrf.NORMALIZE_AFTER)
    theirs = np.array(crf.inference(10)).T
    thetas = Thetas(alpha=30, beta=13, gamma=3)
    field = MeanField(spatial_kernel(HW, thetas), bilateral_kernel(colours.transpose(2, 0, 1).astype(np.float32), thetas))
    ours = field.forward(np.log(prob).astype(np.float32), potts(classes), 10)
    ours = softmax(ours)
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert (prob.argmax(axis=1) != theirs.argmax(axis=1)).mean() > 0.05
