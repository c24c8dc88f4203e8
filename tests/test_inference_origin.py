"""The origin of weights: the run folder or pretrained/ decides, never the file's name alone."""

import json

import pytest

from dataset_prep.datasets import dataset
from tools.inference.origin import GIVEN, RELEASED, TRAINED, Origin, origin_of, origin_of_all
from tools.report.evaluation import Evaluation
from tools.report.split_scores import rows_beside


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty pretrained/ in tmp_path."""
    monkeypatch.setattr('pretrained.weights.PRETRAINED', tmp_path / 'pretrained')
    return tmp_path


@pytest.fixture
def file(place):
    """Makes an empty file at a path."""

    def file(path):
        path = place / path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return path

    return file


@pytest.fixture
def snapshot(file):
    """Makes a snapshot of a stage in a run folder, which may have another name."""

    def snapshot(stage, folder='', name='x_iter_9.caffemodel'):
        path = file(f'{folder or stage}/{name}')
        (path.parent / 'run.json').write_text(json.dumps({'settings': {'stage': stage}, 'sessions': []}))
        return path

    return snapshot


def test_a_snapshot_is_of_the_stage_that_run_json_names(snapshot, file):
    """Names of file and folder do not matter. Snapshots that are scored during the training lie in a folder below."""
    path = snapshot('voc-front', 'mine', 'camvid-front_iter_9.caffemodel')
    assert origin_of(path) == Origin(stage='voc-front') and origin_of(path).kind == TRAINED
    assert origin_of(file('mine/validation/iter_9.caffemodel')) == Origin(stage='voc-front')


def test_a_released_file_lies_in_pretrained(file):
    """A file with its name in another folder has no known origin."""
    found = origin_of(file('pretrained/dilation8_camvid.caffemodel'))
    assert (found, found.kind) == (Origin(row='dilation8_camvid'), RELEASED)
    assert origin_of(file('elsewhere/dilation8_camvid.caffemodel')) == Origin()
    assert origin_of(file('elsewhere/camvid-joint_iter_20000.caffemodel')).kind == GIVEN


def test_vgg16_is_no_released_network(file):
    """The file with its layers up to conv5_3, which tools/test.py writes beside it, is none either."""
    for name in ('vgg16', 'vgg16_conv5_3'):
        found = origin_of(file(f'pretrained/{name}.caffemodel'))
        assert (found, found.kind) == (Origin(row='vgg16'), GIVEN)


def test_a_damaged_run_json_names_no_stage(snapshot):
    """The weights can still be tested."""
    path = snapshot('voc-front')
    path.with_name('run.json').write_text('{')
    assert origin_of(path) == Origin()


def test_several_files_have_the_origin_of_the_last_if_it_was_trained_on_the_others(snapshot, file):
    """A context module with the front end of another training, or with an unknown file, has no origin."""
    context = snapshot('voc-context-large')
    assert origin_of_all([snapshot('voc-coco-front-finetune'), context]) == Origin(stage='voc-context-large')
    assert origin_of_all([context]) == Origin(stage='voc-context-large')
    assert origin_of_all([snapshot('voc-front'), context]) == Origin()
    assert origin_of_all([file('mine.caffemodel'), context]) == Origin()
    trunk = file('pretrained/vgg16_conv5_3.caffemodel')
    assert origin_of_all([trunk, snapshot('camvid-cpu-front')]) == Origin(stage='camvid-cpu-front')


def of_dilation8(weights):
    """A test of Dilation8 on CamVid."""
    facts = dataset('camvid')
    return Evaluation('dilation8_camvid', facts, None, 'test', [weights], 'reference', (), None, None)


def test_the_papers_numbers_stand_beside_scores_of_the_same_system(snapshot, file):
    """All 233 test images must be scored, without a dense CRF, and with weights of the row."""
    weights = snapshot('camvid-joint')
    [row, of_categories] = rows_beside(of_dilation8(weights), 233, crf=False)
    assert (row.table, row.name, of_categories) == ('paper Table 5', 'Dilation8', None)
    none = (None, None)
    assert rows_beside(of_dilation8(weights), 232, crf=False) == none
    assert rows_beside(of_dilation8(weights), 233, crf=True) == none
    assert rows_beside(of_dilation8(snapshot('camvid-front')), 233, crf=False) == none
    assert rows_beside(of_dilation8(file('mine.caffemodel')), 233, crf=False) == none
    assert rows_beside(of_dilation8(file('pretrained/dilation8_camvid.caffemodel')), 233, crf=False)[0] == row
