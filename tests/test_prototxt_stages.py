"""The table of stages against the paper's text, typed here a second time; short names; data sets of a user's own."""

import pytest

from dataset_prep.datasets import Dataset, dataset, keep_own
from pretrained.bilinear import bilinear_weights
from pretrained.caffemodel import read_net
from pretrained.identity import identity_weights
from prototxt import generate, shapes
from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from prototxt.names import resolve
from prototxt.networks import training
from prototxt.shapes import param_shapes
from prototxt.solver import solver
from tools.support.errors import UserError

# Paper Sec. 4, 5, A, A.1 to A.3: crop, batch, learning rates and the iterations that each is kept for, momentum.
PAPER = {
    'voc-front': (None, 14, [(1e-3, 60_000)], 0.9),
    'voc-coco-front': (None, 14, [(1e-3, 100_000), (1e-4, 40_000)], 0.9),
    'voc-coco-front-finetune': (None, 14, [(1e-5, 50_000)], 0.9),
    'voc-context-basic': (None, None, [(1e-3, None)], None),
    'voc-context-large': (None, None, [(1e-3, None)], None),
    'camvid-front': (628, 8, [(1e-4, 20_000)], 0.99),
    'camvid-joint': (852, 1, [(1e-5, None)], 0.9),
    'kitti-front': (628, 8, [(1e-4, 10_000)], 0.99),
    'kitti-joint': (900, 1, [(1e-5, 20_000)], 0.99),
    'cityscapes-front': (628, 8, [(1e-4, 40_000)], 0.99),
    'cityscapes-context': (None, 100, [(1e-4, 24_000)], 0.99),
    'cityscapes-joint': (1396, 1, [(1e-5, 60_000)], 0.99),
}

NOT_IN_THE_PAPER = {'weight decay', 'mirroring', 'bias rates', 'final filler', "Basic's noise", "Large's noise"}

VGG_16 = {f'conv{group}_{i}' for group, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1)} | {'fc6', 'fc7'}


def rates(message) -> list[tuple[float, int]]:
    """Pairs (learning rate, iterations at it) of a SolverParameter, as Caffe's policies multistep and fixed give them."""
    assert message.lr_policy == ('multistep' if message.stepvalue else 'fixed')
    edges = [0, *message.stepvalue, message.max_iter]
    lengths = [after - before for before, after in zip(edges, edges[1:], strict=False)]
    return [(message.base_lr * message.gamma**i if i else message.base_lr, length) for i, length in enumerate(lengths)]


@pytest.mark.parametrize('name', PAPER)
def test_rows_are_the_papers(name):
    """Crop, batch, rates, momentum and iterations are the paper's; only what it does not give is marked as assumed."""
    crop, batch, steps, momentum = PAPER[name]
    stage, message = STAGES[name], solver(STAGES[name], 'n', 's')
    found = rates(message)
    assert [rate for rate, _ in found] == [pytest.approx(rate) for rate, _ in steps]
    given = {'crop': crop, 'batch': batch, 'momentum': momentum}
    held = {'crop': stage.crop_size, 'batch': stage.batch_size, 'momentum': stage.momentum}
    assert all(given[field] in (None, held[field]) for field in held)
    open_fields = {field for field in held if given[field] is None and held[field] is not None}
    assert [length for _, length in found] == [length or stage.max_iter for _, length in steps]
    if steps[-1][1] is None:
        open_fields.add('iterations')
    assert open_fields == set(dict(stage.assumed)) - NOT_IN_THE_PAPER
    assert message.momentum == pytest.approx(stage.momentum) and message.weight_decay == pytest.approx(0.0005)
    assert message.iter_size * stage.batch_per_pass == stage.batch_size
    assert message.type == 'SGD'


BY_PAPER = [name for name, stage in STAGES.items() if stage.source.startswith('paper')]


@pytest.mark.parametrize('name', BY_PAPER)
def test_rows_say_what_comes_from_the_authors_code_alone(name):
    """The values of fyu/dilation's network.py and train.py; those have no Large, so its noise is this toolkit's."""
    stage, code = STAGES[name], 'fyu/dilation'
    silent = {field: code for field in ('weight decay', 'mirroring', 'bias rates')}
    if NETS[stage.net].front_end.final in stage.fresh:
        silent['final filler'] = code
    if 'identity' in stage.init:
        large = 'large' in name
        silent |= {"Large's noise": 'extrapolated by this toolkit'} if large else {"Basic's noise": code}
    assert {field: source for field, source in stage.assumed if field in NOT_IN_THE_PAPER} == silent


def test_what_the_authors_code_gives_is_in_the_net():
    """Crops are mirrored, and the scores start from N(0, 0.001)."""
    layers = {layer.name: layer for layer in training('camvid-front', 'x').layer}
    assert layers['pair'].transform_param.mirror
    filler = layers['final'].convolution_param.weight_filler
    assert (filler.type, filler.std) == ('gaussian', pytest.approx(0.001))


@pytest.mark.parametrize('name', [name for name in STAGES if name.endswith('-fyu')])
def test_rows_of_the_authors_code_say_so(name):
    """fyu/dilation: batch 14, on maps 60; four steps of 100,000 iterations; momentum 0.9."""
    stage = STAGES[name]
    assert stage.source.startswith('fyu/dilation') and stage.momentum == 0.9
    assert stage.batch_size == (14 if stage.start == 'data' else 60)
    assert [length for _, length in rates(solver(STAGES[name], 'n', 's'))] == [100_000] * 4


@pytest.mark.parametrize('name', STAGES)
def test_what_a_stage_starts_from_is_there_before_it(name):
    """A stage that a row starts from is a row before it, with the same data set and the same name of the scores."""
    stage, before = STAGES[name], list(STAGES)[: list(STAGES).index(name)]
    sources = [source for source in (*stage.init, stage.features_from) if source in STAGES]
    assert set(sources) <= set(before)
    final = NETS[stage.net].front_end.final
    for source in sources:
        other = NETS[STAGES[source].net]
        assert (other.front_end.final, other.dataset) == (final, NETS[stage.net].dataset)


@pytest.mark.parametrize('name', STAGES)
def test_every_layer_has_a_start_that_fits(name):
    """Each learned layer is in one of the row's starts, in its shape, or is fresh; every fresh layer is in the net."""
    stage = STAGES[name]
    wanted = {layer: shapes for layer, shapes in param_shapes(training(name, 'x')).items() if 'upsample' not in layer}
    found = {layer: wanted[layer] for layer in stage.fresh}
    for source in stage.init:
        if source in ('vgg16', 'vgg16_128', 'vgg16_20M', 'vgg16_20M_coco'):
            found |= {layer: shapes for layer, shapes in wanted.items() if layer in VGG_16}
        elif source == 'vgg16-trunk':
            found |= {layer: shapes for layer, shapes in wanted.items() if layer in VGG_16 - {'fc6', 'fc7'}}
        elif source == 'identity':
            found |= {layer: [blob.shape for blob in blobs] for layer, blobs in identity_weights(stage.net).items()}
        elif source == 'bilinear':
            found |= {layer: [blob.shape for blob in blobs] for layer, blobs in bilinear_weights(stage.net).items()}
        else:
            found |= param_shapes(training(source, 'x'))
    assert {layer: found.get(layer) for layer in wanted} == wanted


@pytest.mark.parametrize('name', STAGES)
def test_crop_and_batch_fit(name):
    """The crop leaves whole cells, and the batch is `iter_size` passes of equal size."""
    stage = STAGES[name]
    assert stage.crop_size is None or shapes.check_crop_size(stage.crop_size)
    assert stage.batch_per_pass * stage.iter_size == stage.batch_size


@pytest.mark.parametrize(
    ('typed', 'row'),
    [('dilation10', 'dilation10_cityscapes'), ('dilation7', 'dilation7_kitti'), ('dilation8-camvid', 'dilation8_camvid')],
)
def test_short_names(typed, row):
    """A name may be shortened as long as it is unique; a whole name is unique even if a longer one begins with it."""
    assert resolve(typed, NETS) == row


@pytest.mark.parametrize(
    ('typed', 'message'),
    [
        ('dilation8', 'dilation8_pascal_voc.*dilation8_camvid'),
        ('segnet', 'no network segnet; there are: dilation8_pascal_voc'),
        ('segnet@mushrooms', 'no network segnet'),
    ],
)
def test_name_that_is_no_row_lists_the_rows(typed, message):
    """The rows that begin so, or all."""
    with pytest.raises(UserError, match=message):
        resolve(typed, NETS)


# A user's own data


@pytest.fixture
def mushrooms():
    """A data set of five classes, as `make lmdb-custom` writes it."""
    return keep_own(Dataset('mushrooms', tuple('abcde'), ((0, 0, 0),) * 5, (1.0, 2.0, 3.0), {'train': 9, 'val': 2}))


def test_any_network_and_stage_for_own_data(mushrooms):
    """The name after the @ is the data set; the stages and maps that a stage starts from are of that data set too."""
    assert dataset(NETS['dilation10_cityscapes@mushrooms'].dataset) is mushrooms
    stage = STAGES['cityscapes-joint@mushrooms']
    assert stage.init == ('cityscapes-front@mushrooms', 'cityscapes-context@mushrooms')
    assert lmdb_of(stage) == 'mushrooms/train_1396'
    context = STAGES['cityscapes-context@mushrooms']
    assert lmdb_of(context) == 'mushrooms/train_final_cityscapes-front@mushrooms_stride1'
    assert STAGES['camvid-front@mushrooms'].init == ('vgg16',)
    assert list(STAGES.of('front_camvid@mushrooms')) == ['camvid-front@mushrooms']
    assert resolve('dilation10@mushrooms', NETS) == 'dilation10_cityscapes@mushrooms'


def test_unknown_names_stay_unknown():
    """An @ makes neither a row nor a data set."""
    assert 'camvid-middle@mushrooms' not in STAGES
    with pytest.raises(KeyError):
        STAGES['camvid-middle']
    with pytest.raises(UserError, match='no data set nowhere'):
        dataset(NETS['front_camvid@nowhere'].dataset)


def test_generate_for_own_classes_and_crop(tmp_path, capsys):
    """--classes 5 --crop-size 500: five scores in deploy and training nets, a crop of 500, labels of every pixel."""
    argv = ['--net', 'dilation8_camvid', '--classes', '5', '--crop-size', '500', '--upsample-loss', '--tile', '500', '636']
    generate.main([*argv, '--out', str(tmp_path)])
    folder = tmp_path / 'dilation8_camvid@own'
    assert str(folder / 'deploy.prototxt') in capsys.readouterr().out
    nets = {path.name: read_net(path) for path in folder.rglob('*.prototxt') if path.name != 'solver.prototxt'}
    assert sorted(nets) == ['deploy.prototxt', 'deploy_context.prototxt', 'test.prototxt', 'train.prototxt']
    for net in nets.values():
        assert param_shapes(net)['ctx_final'] == [(5, 5, 1, 1), (5,)]
    assert list(nets['deploy.prototxt'].layer[0].input_param.shape[0].dim) == [1, 3, 500, 636]
    assert nets['train.prototxt'].layer[0].transform_param.crop_size == 500
    assert 'ctx_upsample' in param_shapes(nets['train.prototxt'])
    said = (folder / 'camvid-joint@own' / 'solver.prototxt').read_text()
    assert f'net: "{folder}/camvid-joint@own/train.prototxt"' in said


@pytest.mark.parametrize(('argv', 'message'), [
    (['--net', 'front_camvid', '--classes', '5', '--crop-size', '510', '--out', 'x'], 'nearest that fit are 508 and 516'),
    (['--net', 'front_camvid', '--classes', '5', '--tile', '900', '1001', '--out', 'x'], 'nearest that fit are 996 and 1004'),
    *((['--net', 'front_toy', '--classes', n, '--out', 'x'], f'--classes {n}: labels are 8 bits .* give 2 to 255')
      for n in ('-1', '0', '1', '256')),
    (['--classes', '5', '--out', 'x'], 'say which, with --net'),
    (['--net', 'front_camvid', '--dataset', 'nowhere', '--out', 'x'], 'no data set nowhere'),
])  # fmt: skip
def test_generate_refuses(argv, message, tmp_path, monkeypatch):
    """Bad values are named before a file is written."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        generate.main(argv)
    assert not list(tmp_path.iterdir())
