"""The parts `blas` and `step` of `make bench`: matrix products in Caffe's BLAS and others, forward passes and training steps in
Caffe's engines and others.

They take turns in one run, on all cores, so that their ratios can be compared. The fastest turn counts, and the highest memory.
"""

import json
import sys
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory

from prototxt.experiments import STAGES
from prototxt.networks import deploy, write
from tools.bench import material
from tools.bench.forward_pass import ENGINES, THREADS
from tools.bench.gpu_cases import Case, size_of
from tools.bench.gpu_files import caffe_files, job_file, torch_job
from tools.bench.stopwatch import Run, run
from tools.netinfo.costs import COLUMN_BYTES
from tools.netinfo.setup import Layer, layers_of
from tools.support.blas_in_use import blas_in_use
from tools.support.cpu_engine import ONEDNN, ONEDNN_BF16, OWN, VARIABLE, fault_of
from tools.support.errors import UserError

HERE = Path(__file__).parent
NETS = {'dilation8_pascal_voc': 900, 'dilation10_cityscapes': 1396}  # deploy net -> side of its input, pixels
CAFFE_ENGINES = {'caffe': OWN, 'caffe, onednn': ONEDNN, 'caffe, onednn-bf16': ONEDNN_BF16}  # as printed -> CAFFE_ENGINE
Commands = dict[str, tuple[list, dict[str, str]]]  # engine -> words of a measurement, and its variables
TORCH = [engine for engine in ENGINES if engine.startswith('pytorch')]
STEP = 'camvid-front'  # the training stage whose step is measured
TURNS, PASSES, PRODUCTS = 2, 3, 3  # turns of all; passes, and products of a shape, in each


@dataclass(frozen=True)
class Product:
    """The products of one convolution in one forward pass: `times` products (m, n, k), a fraction for a narrower last one."""

    layer: str
    shape: tuple[int, int, int]
    times: float

    @property
    def flop(self) -> float:
        """Floating-point operations of the pass."""
        m, n, k = self.shape
        return 2 * m * n * k * self.times


def products_of(layers: list[Layer]) -> list[Product]:
    """The products of a forward pass in Caffe: weights (m x k) by columns (k x n), for some output rows at a time."""
    found = []
    for layer in layers:
        if layer.type != 'Convolution':
            continue
        (m, *taps), (_, out, height, width) = layer.params[0], layer.shapes[0]
        k = taps[0] * taps[1] * taps[2]
        rows = height if taps[1:] == [1, 1] else max(1, min(height, COLUMN_BYTES // (k * width * 4)))
        groups = out // m
        found.append(Product(layer.name, (m, rows * width, k), groups * height / rows))
    return found


def libraries() -> dict[str, tuple[str, str]]:
    """Name of a BLAS library -> its file and the prefix of its functions."""
    blas = blas_in_use()
    if blas is None or not blas.file:
        raise UserError('the BLAS of the Caffe in use is not found; run: make doctor')
    found = {f'Caffe: {blas}': (blas.file, blas.prefix), 'NumPy': ('numpy', '')}
    mkl = sorted(Path(sys.prefix, 'lib').glob('libmkl_rt.so*'))
    return {**found, 'MKL': (str(mkl[0]), '')} if mkl else found


def compare_products(net_name: str) -> tuple[dict[str, float], dict]:
    """Print GFLOP/s of each library at each layer's shape. Returns seconds of the layers' products by Caffe's, and results."""
    products = products_of(layers_of(deploy(net_name, size_hw=(NETS[net_name],) * 2), 'test'))
    shapes = sorted({product.shape for product in products})
    seconds: dict[str, dict[tuple, float]] = {}
    for _ in range(TURNS):
        for name, (file, prefix) in libraries().items():
            [line] = run([HERE / 'products.py', file, prefix, json.dumps(shapes), PRODUCTS]).lines
            turn = dict(zip(shapes, json.loads(line), strict=True))
            seconds[name] = {shape: min(turn[shape], seconds.get(name, turn)[shape]) for shape in shapes}
    names = list(seconds)
    print(f'{net_name}, products of a forward pass, GFLOP/s; ' + '; '.join(names))
    for shape in shapes:
        of_shape = [product for product in products if product.shape == shape]
        speeds = [2 * shape[0] * shape[1] * shape[2] / seconds[name][shape] / 1e9 for name in names]
        layers = ', '.join(product.layer for product in of_shape)
        print(f'  {"x".join(map(str, shape)):<18} {" ".join(f"{speed:7.0f}" for speed in speeds)}   {layers}')
    sums = {name: sum(product.times * seconds[name][product.shape] for product in products) for name in names}
    flop = sum(product.flop for product in products)
    for name in names:
        print(f'  {name}: {sums[name]:.2f} s per pass, {flop / sums[name] / 1e9:.0f} GFLOP/s')
    ratio = min(sums.values()) / sums[names[0]]
    print(f"  Caffe's library has {ratio:.2f} of the speed of the fastest (goal: at least 0.9)")
    of_caffe = {product.layer: product.times * seconds[names[0]][product.shape] for product in products}
    return of_caffe, {'seconds': sums, 'of_the_fastest': ratio}


def compare_passes(net_name: str, others: list[str], products: dict[str, float], out: Path) -> dict:
    """Print seconds and memory of each engine's passes, and Caffe's time outside its products; returns the results."""
    weights = material.random_caffemodel(net_name, out / f'{net_name}.caffemodel')
    prototxt = out / f'{net_name}_{NETS[net_name]}.prototxt'
    write(deploy(net_name, size_hw=(NETS[net_name],) * 2), prototxt)
    words = [prototxt, weights, PASSES]
    commands: Commands = {
        **{name: ([HERE / 'forward_pass.py', 'caffe', *words], {VARIABLE: value}) for name, value in possible_engines().items()},
        **{engine: ([HERE / 'forward_pass.py', engine, *words], {}) for engine in others},
    }
    seconds, peaks, said = take_turns(commands, uncounted=1)
    layers: dict[str, tuple[str, float]] = {}
    for name, kind, taken in (layer for answer in said['caffe'] for layer in answer['layers']):
        layers[name] = kind, min(taken, layers.get(name, ('', taken))[1])
    print(f'{net_name}, a forward pass at {NETS[net_name]}x{NETS[net_name]}')
    print_rows(seconds, peaks)
    multiplied = sum(products.values())
    print(
        f'  a pass of Caffe takes {seconds["caffe"] / multiplied:.2f} of its products alone (goal: at most 1.15); outside them:'
    )
    outside = outside_products(layers, products)
    for kind, taken in sorted(outside.items(), key=lambda item: -item[1]):
        print(f'    {kind:<24} {taken:6.2f} s')
    return {'seconds': seconds, 'peak_bytes': peaks, 'of_its_products': seconds['caffe'] / multiplied, 'outside_s': outside}


def print_rows(seconds: dict[str, float], peaks: dict[str, int]) -> None:
    """Print seconds and memory of each engine, and its time beside Caffe's own."""
    for engine, taken in seconds.items():
        print(f"  {engine:<24} {taken:6.2f} s {peaks[engine] / 1e9:6.2f} GB   {taken / seconds['caffe']:.2f} of Caffe's time")


def possible_engines() -> dict[str, str]:
    """Those of CAFFE_ENGINES that this Caffe and this processor have."""
    return {name: value for name, value in CAFFE_ENGINES.items() if not fault_of(value)}


def take_turns(commands: Commands, uncounted: int = 0) -> tuple[dict[str, float], dict[str, int], dict[str, list[dict]]]:
    """Run each command TURNS times, in turn. Returns the fastest seconds, the highest memory, and what it printed, by engine.

    The first `uncounted` seconds that a command prints do not count.
    """
    runs: dict[str, list[Run]] = {engine: [] for engine in commands}
    for _ in range(TURNS):
        for engine, (words, variables) in commands.items():
            runs[engine].append(run(words, variables))
    said = {engine: [json.loads(one.lines[-1]) for one in found] for engine, found in runs.items()}
    seconds = {engine: min(min(answer['seconds'][uncounted:]) for answer in answers) for engine, answers in said.items()}
    peaks = {engine: max(one.peak_bytes for one in found) for engine, found in runs.items()}
    return seconds, peaks, said


def compare_step(out: Path, torch: bool) -> dict:
    """Print seconds and memory of a training step of STEP, one image, in each engine; returns the results."""
    out.mkdir(parents=True, exist_ok=True)
    stage = STAGES[STEP]
    case = Case(STEP, stage.net, size_of(stage), stage=STEP)
    with TemporaryDirectory(dir=out) as temporary:
        folder = Path(temporary)
        in_caffe = job_file({**caffe_files(case, folder, 1, gpu=False), 'gpu': None, 'repeat': PASSES}, folder / 'caffe.json')
        torch_facts = {**(torch_job(case, 1) or {}), 'gpu': None, 'tf32': False, 'repeat': PASSES, 'threads': THREADS}
        commands: Commands = {
            name: ([HERE / 'gpu_caffe.py', in_caffe], {VARIABLE: value}) for name, value in possible_engines().items()
        }
        for engine in TORCH if torch else ():
            job = torch_facts | {'channels_last': engine.endswith('channels-last')}
            commands[engine] = [HERE / 'gpu_torch.py', job_file(job, folder / f'{engine}.json')], {}
        seconds, peaks, _ = take_turns(commands)
    print(f'{STEP}, a training step with one image of {"x".join(map(str, case.size_hw))}')
    print_rows(seconds, peaks)
    return {'seconds': seconds, 'peak_bytes': peaks}


def outside_products(layers: dict[str, tuple[str, float]], products: dict[str, float]) -> dict[str, float]:
    """Seconds by type of layer, for convolutions without their products."""
    sums: dict[str, float] = {}
    for name, (kind, taken) in layers.items():
        title = 'Convolution: im2col, bias' if kind == 'Convolution' else kind
        sums[title] = sums.get(title, 0.0) + taken - products.get(name, 0.0)
    return {kind: taken for kind, taken in sums.items() if ceil(1000 * abs(taken)) > 1}


def compare(out: Path, torch: bool) -> dict:
    """Measure and print everything; returns the results."""
    out.mkdir(parents=True, exist_ok=True)
    others = [engine for engine in ENGINES if engine != 'caffe' and (torch or engine not in TORCH)]
    results = {}
    for net_name in NETS:
        products, of_products = compare_products(net_name)
        results[net_name] = {'products': of_products, 'passes': compare_passes(net_name, others, products, out)}
    return results
