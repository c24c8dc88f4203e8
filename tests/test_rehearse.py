"""The rehearsal: a small chain up to its table, failed stages, and the data and weights that stages need."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from dataset_prep.datasets import dataset
from pretrained import caffemodel
from prototxt.experiments import STAGES
from prototxt.networks import deploy, training
from prototxt.shapes import param_shapes
from tools import rehearse
from tools.recipes import rehearsal
from tools.recipes.drawn_data import crops_of
from tools.recipes.rehearsal_rows import Asked, RehearsalRow
from tools.recipes.start_weights import needs_file, start_shapes, write_start
from tools.support.atomic import locked
from tools.support.errors import UserError

PAPER = {  # Sec. 4, Sec. 5 with Table 3, A.1, A.2, A.3, and fyu/dilation's own numbers
    'voc': 14, 'camvid': 2, 'kitti': 2, 'cityscapes': 3,
}  # fmt: skip


def test_small_chain_from_nothing_to_its_table(tmp_path, capfd):
    """Untrained weights have a loss of ln 7. Files that no stage needs are deleted; a second call does nothing."""
    assert rehearse.main(['toy-basic', '--out', str(tmp_path)]) == 0
    front, basic = json.loads((tmp_path / 'rehearsal.json').read_text())
    assert [row['stage'] for row in (front, basic)] == ['toy-front', 'toy-basic']
    assert [row['first_loss'] for row in (front, basic)] == pytest.approx([math.log(7)] * 2, rel=0.1)
    assert (front['size'], front['images'], front['row_images']) == ('564', 1, 2)
    assert basic['size'] == 'maps 24x48'  # of 192x384 pixels
    assert front['peak_bytes'] == pytest.approx(front['estimate_bytes'], rel=0.2)
    assert front['estimate_bytes'] < front['row_estimate_bytes']
    out = capfd.readouterr().out
    assert out.endswith((tmp_path / 'rehearsal.md').read_text()) and out.count('| ok') == 2
    assert [path.name for path in (tmp_path / 'runs').glob('*/*.caffemodel')] == ['toy-front_iter_2.caffemodel']
    assert rehearse.main(['toy-basic', '--iters', '1', '--out', str(tmp_path)]) == 0
    assert '$ python' not in capfd.readouterr().out


def test_failed_stage_only_stops_stages_that_start_from_it(tmp_path, monkeypatch, capsys):
    """The others run, the table gives the reason, and the status is 1."""
    ran = []

    def train(chain, name, **changes):
        ran.append(name)
        raise UserError('no memory')

    monkeypatch.setattr('tools.recipes.chain.Chain.train', train)
    monkeypatch.setattr(rehearsal, 'prepare_data', lambda stages, data: None)
    monkeypatch.setattr(rehearsal, 'write_start', lambda stage, path: None)
    assert rehearse.main(['camvid-joint', 'kitti-front', '--out', str(tmp_path)]) == 1
    assert ran == ['camvid-front', 'kitti-front']
    out = capsys.readouterr().out
    assert out.count('FAILED: no memory') == 2 and 'FAILED: it starts from camvid-front' in out


def test_second_rehearsal_in_the_same_folder_is_refused(tmp_path):
    """The second would delete the runs of the first."""
    with locked(tmp_path / 'out'), pytest.raises(UserError, match='is being written by another process'):
        rehearse.main(['toy-basic', '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_paper_is_every_full_size_stage_of_its_own_networks():
    """It leaves out the compared networks, the demo and the recipes for a CPU."""
    chosen = rehearse.chosen(['paper'])
    assert {name: sum(stage.startswith(name) for stage in chosen) for name in PAPER} == PAPER
    assert len(chosen) == sum(PAPER.values())
    assert set(rehearse.chosen(['all'])) - set(chosen) >= {'voc-fcn8s', 'camvid-deeplab-largefov', 'voc-front-padding'}
    assert rehearse.chosen(['kitti-joint', 'kitti-joint']) == ('kitti-joint',)
    for name in ('kitty', 'camvid-cpu-front'):
        with pytest.raises(UserError, match=f'no stage {name}'):
            rehearse.chosen([name])


def test_data_that_stages_need():
    """Each crop size occurs once, joint training uses halves (paper A.3), and stages on maps need no LMDB of images."""
    names = ('cityscapes-front', 'cityscapes-context', 'cityscapes-joint', 'voc-front', 'voc-coco-front', 'voc-front-crfrnn')
    assert crops_of(STAGES[name] for name in names) == {
        'cityscapes': {'train': [628], 'train_halves': [1396]},
        'pascal_voc': {'train_aug': [500, 884], 'train_aug_coco': [500]},
    }
    assert crops_of([STAGES['toy-basic']]) == {'toy': {'train': []}}


def test_start_holds_vgg16_and_small_random_values_elsewhere(tmp_path, monkeypatch):
    """A layer of another shape is not copied, and a fresh layer is not written."""
    monkeypatch.setattr('pretrained.weights.PRETRAINED', tmp_path)
    stage = replace(STAGES['toy-front'], init=('vgg16',), fresh=('final',))
    shapes = param_shapes(deploy(stage.net))
    known = [np.full(shape, 7, np.float32) for shape in shapes['conv1_1']]
    caffemodel.write(tmp_path / 'vgg16.caffemodel', {'conv1_1': known, 'conv1_2': known, 'other': known})
    write_start(stage, tmp_path / 'start.caffemodel')
    found = caffemodel.load(tmp_path / 'start.caffemodel')
    assert found.keys() == shapes.keys() - {'final'}
    assert all((blob == 7).all() for blob in found['conv1_1'])
    assert found['fc6'][0].shape == shapes['fc6'][0] and found['conv1_2'][0].std() == pytest.approx(0.01, rel=0.1)


def test_runs_with_other_settings_do_not_count():
    """Fewer iterations, another number of images, or a GPU."""
    asked = Asked(3, 2)
    assert asked.covers(Asked(3, 2)) and asked.covers(Asked(1, 2))
    assert not any(asked.covers(other) for other in (Asked(4, 2), Asked(3, 1), Asked(3, 3), Asked(3, 2, gpu=0)))


@pytest.mark.parametrize('name', [name for name in rehearse.chosen(['all']) if needs_file(STAGES[name])])
def test_start_holds_every_layer_that_a_stage_needs(name):
    """Each layer that is not fresh gets values."""
    stage = STAGES[name]
    wanted, given = param_shapes(training(name, 'unused')), start_shapes(stage)
    assert wanted.keys() - stage.fresh <= given.keys()
    assert all(wanted[layer] == given[layer] for layer in wanted.keys() & given.keys())


@pytest.mark.parametrize(
    ('loss', 'goes_on', 'said'),
    [(2.4, False, 'ok'), (4.0, True, 'too large'), (math.nan, True, 'too large'), (0.5, False, 'too small'), (0.5, True, 'ok')],
)
def test_unexpected_first_loss_gets_a_remark(loss, goes_on, said):
    """ln 11 = 2.398 is expected; a stage that starts from trained weights may be lower."""
    row = RehearsalRow('s', Asked(2, 1), '628', 1, 8, loss, math.log(11), 1.0, 1, 1e9, 1e9, goes_on)
    assert said in row.remark and row.sound == (said == 'ok') and row.cells()[-1] == row.remark


def test_every_data_set_that_stages_train_on_has_a_size():
    """Its pictures are drawn in it."""
    assert all(dataset(name).sizes_wh for name in crops_of(STAGES.values()))
