"""The files that a measurement needs: networks as prototxt for Caffe and as plain data for PyTorch, and records to train on."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from google.protobuf import text_format

from dataset_prep.datasets import dataset
from dataset_prep.datum import float_datum, raw_datum
from dataset_prep.lmdb_store import LmdbWriter, key
from prototxt import networks
from prototxt.experiments import NETS, STAGES
from prototxt.front_end import start_channels
from prototxt.shapes import STRIDE
from prototxt.solver import solver
from tools.bench.gpu_cases import Case

RECORDS = 2
NO_STEP = 1e-12  # learning rate: a step costs the same, and random data does no harm


@dataclass(frozen=True)
class TorchLayer:
    """One layer, with the arguments of PyTorch's modules; `kind` is Caffe's type."""

    kind: str
    channels_out: int = 0
    kernel: int = 1
    stride: int = 1
    pad: int = 0
    dilation: int = 1
    group: int = 1
    bias: bool = True


def caffe_files(case: Case, folder: Path, per_pass: int, gpu: bool) -> dict:
    """Write the files of gpu_caffe.py to `folder`; returns its job, except device and repetitions."""
    if not case.stage:
        _write(networks.deploy(case.net, case.start, case.size_hw), folder / 'deploy.prototxt')
        return {'deploy': str(folder / 'deploy.prototxt')}
    stage = STAGES[case.stage]
    _write_records(case, folder / 'records')
    crop_size = case.size_hw[0] if case.start == 'data' else None
    _write(networks.training(case.stage, str(folder / 'records'), crop_size, per_pass), folder / 'train.prototxt')
    step = replace(stage, base_lr=NO_STEP, lr_steps=(), snapshot=0, max_iter=1_000_000, iter_size=case.batch // per_pass)
    message = solver(step, str(folder / 'train.prototxt'), str(folder / 'unused'), display=0, gpu=gpu)
    _write(message, folder / 'solver.prototxt')
    return {'solver': str(folder / 'solver.prototxt')}


def torch_job(case: Case, per_pass: int) -> dict | None:
    """The job of gpu_torch.py, except device and repetitions; None if a layer of the network has no translation."""
    net = networks.deploy(case.net, case.start, case.size_hw)
    layers = torch_layers(net)
    if layers is None:
        return None
    facts = dataset(NETS[case.net].dataset)
    channels = start_channels(NETS[case.net].front_end, case.start, facts.num_classes)
    return {
        'layers': [asdict(layer) for layer in layers],
        'shape': [per_pass, channels, *case.size_hw],
        'passes': case.batch // per_pass if case.stage else 0,
        'classes': facts.num_classes,
    }


def torch_layers(net) -> list[TorchLayer] | None:
    """The layers of a deploy NetParameter between input and Softmax, in order; None if one has no translation."""
    rows = []
    for layer in net.layer[1:-1]:
        if layer.type in ('Convolution', 'Deconvolution'):
            param = layer.convolution_param
            rows.append(
                TorchLayer(
                    layer.type, param.num_output, _one(param.kernel_size), _one(param.stride), _one(param.pad, 0),
                    _one(param.dilation), param.group, param.bias_term,
                )
            )  # fmt: skip
        elif layer.type == 'Pooling':
            rows.append(TorchLayer('Pooling', kernel=layer.pooling_param.kernel_size, stride=layer.pooling_param.stride))
        elif layer.type in ('ReLU', 'Dropout'):
            rows.append(TorchLayer(layer.type))
        else:
            return None
    return rows


def _one(values, default: int = 1) -> int:
    return values[0] if len(values) else default


def _write(message, path: Path) -> None:
    path.write_text(text_format.MessageToString(message), encoding='utf-8')


def _write_records(case: Case, folder: Path) -> None:
    """Write an LMDB of random records with the shape that the stage's Data layer reads."""
    stage, row = STAGES[case.stage], NETS[case.net]
    classes = dataset(row.dataset).num_classes
    random = np.random.default_rng(0)
    writer = LmdbWriter(folder)
    for index in range(RECORDS):
        writer.put(key(index, f'r{index}'), _record(random, case, classes, stage.label_stride))
    writer.flush()
    writer.close()


def _record(random: np.random.Generator, case: Case, classes: int, label_stride: int) -> bytes:
    """A Datum of an image, or of maps, with the label of each pixel or cell."""
    if case.start == 'data':
        image = random.integers(0, 256, (3, *case.size_hw), np.uint8)
        return raw_datum(np.concatenate([image, random.integers(0, classes, (1, *case.size_hw), np.uint8)]))
    channels = start_channels(NETS[case.net].front_end, case.start, classes)
    planes = STRIDE**2 if label_stride == 1 else 1
    maps = random.standard_normal((channels, *case.size_hw), np.float32)
    return float_datum(np.concatenate([maps, random.integers(0, classes, (planes, *case.size_hw)).astype(np.float32)]))


def job_file(job: dict, path: Path) -> Path:
    """Write a job to `path`, and return that."""
    path.write_text(json.dumps(job), encoding='utf-8')
    return path
