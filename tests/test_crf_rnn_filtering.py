"""The filter of the permutohedral lattice against brute force in double precision, and the mean field that uses it."""

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

HW = 24, 31


def features_of(deviations: tuple[float, ...], image: np.ndarray) -> np.ndarray:
    """(n, 2): positions of the pixels of an image (3, H, W), in standard deviations. With two deviations (n, 5): colours too."""
    rows, columns = np.mgrid[: image.shape[1], : image.shape[2]]
    channels = [columns / deviations[0], rows / deviations[0], *(image / deviations[1] if len(deviations) > 1 else ())]
    return np.stack(channels, axis=-1).reshape(-1, len(channels)).astype(float)


def brute_force(features: np.ndarray) -> np.ndarray:
    """(n, n): exp(-|f_i - f_j|^2 / 2)."""
    return np.exp(-((features[:, None] - features[None]) ** 2).sum(axis=-1) / 2)


def matrix_of(lattice: Lattice, size: int, **options) -> np.ndarray:
    """(n, n): the filter of the lattice as a matrix, from one impulse per pixel."""
    return lattice.filter(np.eye(size), np.empty((size, size)), **options)


def scene(size_hw: tuple[int, int] = HW, dtype=float) -> np.ndarray:
    """(3, H, W): two shaded and noisy surfaces of different colours."""
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
    """Barycentric coordinates are not negative and have the sum 1. The weighted mean of the vertices is the point."""
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
    """The lattice approximates brute force to a few per cent."""
    features, labels = features_of(deviations, scene()), random_labels(3)
    exact = brute_force(features)
    exact = exact @ labels / exact.sum(axis=1, keepdims=True)
    error = Kernel(features).filter(labels, np.empty_like(labels)) - exact
    assert np.abs(error).max() < largest
    assert np.sqrt((error**2).mean()) < rms
    assert np.sqrt(((labels - exact) ** 2).mean()) > 4 * rms  # the filter does something


def test_an_impulse_spreads_by_one_standard_deviation():
    """In two dimensions, the mean squared distance from the impulse is 2 sigma^2."""
    height = width = 61
    features = features_of((4.0,), np.zeros((3, height, width)))
    impulse = np.zeros((height * width, 1))
    middle = height * width // 2
    impulse[middle] = 1
    spread = Lattice(features).filter(impulse, np.empty_like(impulse))[:, 0]
    squared = ((features - features[middle]) ** 2).sum(axis=1)
    assert (spread * squared).sum() / spread.sum() == pytest.approx(2, rel=0.1)


def test_transposed_filter_is_the_transpose():
    """The order of the axes matters: the matrix is not symmetric if vertices lack neighbours."""
    features = features_of((20.0, 15.0), scene())
    lattice = Lattice(features)
    matrix = matrix_of(lattice, len(features))
    assert np.abs(matrix - matrix.T).max() > 0.01
    np.testing.assert_allclose(matrix_of(lattice, len(features), transposed=True), matrix.T, atol=1e-12)


def test_same_bits_with_any_number_of_threads(monkeypatch):
    """One thread adds each sum in one order."""
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
    """They do not fit into the integers of the lattice."""
    with pytest.raises(ValueError, match='standard deviations'):
        Lattice(np.array([[0.0, value]]))


def test_softmax_of_large_logits():
    """exp(x) / sum(exp(x)) does not overflow."""
    logits = np.array([[1000.0, 999.0, -1000.0], [0.0, 0.0, 0.0]])
    e = np.e
    np.testing.assert_allclose(softmax(logits), [[e / (1 + e), 1 / (1 + e), 0], [1 / 3, 1 / 3, 1 / 3]])


SMALL = Thetas(alpha=8, beta=30, gamma=3)


def small_case(classes: int = 4) -> tuple[MeanField, np.ndarray, Parameters]:
    """A field on a small scene, unary logits (n, C) and random parameters, in double precision."""
    random = np.random.default_rng(1)
    image = scene((7, 9))
    start = potts(classes, 0.8, 1.2, np.float64)
    noise = (matrix + random.normal(0, 0.3, matrix.shape) for matrix in start)
    field = MeanField(spatial_kernel((7, 9), SMALL, np.float64), bilateral_kernel(image, SMALL))
    return field, random.normal(0, 1, (63, classes)), Parameters(*noise)


def test_iterations_are_those_of_the_paper():
    """The result is that of Zheng et al., Algorithm 1, in plain NumPy with the kernels as matrices."""
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
    """The derivative of function() by each value of `array`, from central differences."""
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
    """Checks the derivatives by each unary logit and by each value of the parameters."""
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
