"""tools/test.py on real Caffe: label maps, scores, stopped runs, processes, stored maps, and what it refuses."""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import distributed
import numpy as np
import pytest
from stored_maps import write_features

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split, save_split
from pretrained import caffemodel
from pretrained.weights import WEIGHTS, WeightFile
from prototxt.experiments import NETS
from prototxt.names import resolve
from tests.toy_nets import SIZES, make_split, random_weights
from tools import scoring, test
from tools.caffe_build import environment
from tools.inference import Predictor, spread
from tools.inference.labelling import Job
from tools.inference.spread import label_in_processes
from tools.report import evaluation
from tools.support.atomic import locked
from tools.support.cpu_engine import ONEDNN, OWN, fault_of
from tools.support.errors import UserError
from tools.support.hashing import file_sum

OTHERS = {'pictures', 'scores.json', 'settings.json', 'origin.json'}  # what a test writes beside label maps


@pytest.fixture
def data(tmp_path):
    """A split of three images whose truth is one class in the upper half, another below, and one ignored pixel."""
    return make_split(tmp_path / 'data', SIZES)


@pytest.fixture
def many(tmp_path):
    """A split of ten images: enough for processes that read ahead and write behind."""
    return make_split(tmp_path / 'many', {f'image{number}': (17 + number, 30 - number) for number in range(10)})


@pytest.fixture
def run(front_weights, basic_weights, data, tmp_path):
    """Runs the command into tmp_path/out; returns that folder."""

    def run(*options, net='front-toy'):
        out, given = tmp_path / 'out', front_weights if net == 'front-toy' else basic_weights
        test.main(['--net', net, '--weights', str(given), '--data', str(data), '--out', str(out), '--tiling', 'tight', *options])
        return out

    return run


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def write_times(out):
    return {path.name: path.stat().st_mtime_ns for path in out.glob('*.png')}


def test_label_maps_and_scores(run, front_weights, data, capsys):
    """The Predictor gives the same maps. The file and standard output have the scores of these maps."""
    out = run()
    predictor, facts = Predictor('front_toy', [front_weights], tiling='tight'), dataset('toy')
    matrix = np.zeros((7, 7), int)
    for name in SIZES:
        np.testing.assert_array_equal(read(out / f'{name}.png'), predictor.label_map(read(data / f'{name}.png')))
        matrix += scoring.confusion(read(data / f'{name}_label.png'), read(out / f'{name}.png'), 7)
    scores = json.loads((out / 'scores.json').read_text())
    assert scores['confusion'] == matrix.tolist()
    assert scores['mean_iou'] == pytest.approx(scoring.mean_iou(matrix))
    expected = [None if np.isnan(value) else value for value in scoring.iou(matrix)]
    assert list(scores['class_iou'].items()) == list(zip(facts.classes, expected, strict=True))
    assert (scores['images'], scores['ignored_pixels']) == (3, 3)
    assert scores['pixels'] == sum(height * width for height, width in SIZES.values()) - 3
    said = capsys.readouterr()
    assert scoring.table(facts.classes, matrix) in said.out
    assert f'weights: {front_weights}\n' in said.err


def test_scores_say_which_training_made_the_weights(front_weights, data, tmp_path):
    """The run.json beside them says it. scores.json and origin.json get the stage, the file and its sum."""
    snapshot = shutil.copy(front_weights, tmp_path / 'renamed.caffemodel')
    (tmp_path / 'run.json').write_text(json.dumps({'settings': {'stage': 'toy-front'}, 'sessions': []}))
    out = tmp_path / 'out'
    test.main(['--net', 'front-toy', '--weights', str(snapshot), '--data', str(data), '--out', str(out), '--limit', '1'])
    said = json.loads((out / 'scores.json').read_text())['origin']
    assert (said['kind'], said['stage']) == ('trained here', 'toy-front')
    assert said['weights'] == [{'file': str(snapshot), 'sha256': file_sum(front_weights), 'stage': 'toy-front', 'row': ''}]
    assert json.loads((out / 'origin.json').read_text()) == said


def test_a_warning_names_weights_that_were_trained_on_the_split(run, monkeypatch, capsys):
    """It says what they saw and what to do. On another split there is none."""
    row = WeightFile('front_toy.caffemodel', 'x', 'x', saw=(('toy', 'test'),), saw_by='its authors')
    monkeypatch.setitem(WEIGHTS, 'front_toy', row)
    run('--limit', '1')
    said = capsys.readouterr().err
    assert 'warning: front_toy.caffemodel was trained on images of toy test (its authors): a score there is too high' in said
    assert '--split test and tools/submit.py' in said
    monkeypatch.setitem(WEIGHTS, 'front_toy', replace(row, saw=(('toy', 'val'),)))
    run('--limit', '1')
    assert 'warning' not in capsys.readouterr().err


def test_pictures(run):
    """There is always a contact sheet; with --overlay each image gets a strip of four panels."""
    out = run('--overlay')
    assert {path.name for path in (out / 'pictures').iterdir()} == {'contact_sheet.png', 'a.png', 'b.png', 'c.png'}
    strip = read(out / 'pictures' / 'a.png')
    names_and_headings, panels = strip[:-28], strip[-28:-8]
    assert panels.shape[0] == 20 and all((panels[:, 8 + place * 158 :][:, :28] != 255).any() for place in range(4))
    assert all((panels[:, 8 + place * 158 + 28 :][:, :8] == 255).all() for place in range(4))
    assert all((names_and_headings[28:48, 8 + place * 158 :][:, :100] < 128).any() for place in range(4))


def test_weights_that_do_not_fit_leave_earlier_results_in_place(run, front_weights, tmp_path):
    """Weights of another number of classes are refused before anything is moved aside."""
    before = write_times(run('--limit', '1'))
    layers = caffemodel.load(front_weights)
    layers['final'] = [blob[:3] for blob in layers['final']]
    caffemodel.write(tmp_path / 'other', layers)
    with pytest.raises(UserError, match=r'layer final has a blob of shape \(3, '):
        run('--weights', str(tmp_path / 'other'))
    assert write_times(tmp_path / 'out') == before


def test_a_second_run_goes_on_from_the_first(run):
    """Only the missing map is made. The scores are the same."""
    out = run()
    first, scores = write_times(out), (out / 'scores.json').read_text()
    (out / 'b.png').unlink()
    second = write_times(run())
    assert {name for name in first if second[name] != first[name]} == {'b.png'}
    assert (out / 'scores.json').read_text() == scores


def test_results_of_other_weights_are_moved_aside(run, tmp_path, capsys):
    """All of them, also those beyond --limit, and each time into a new folder. A message says so."""
    out = run()
    stale, scores = read(out / 'a.png'), (out / 'scores.json').read_text()
    run('--weights', str(random_weights('front_toy', tmp_path / 'other.caffemodel', seed=1)), '--limit', '1')
    assert write_times(out).keys() == {'a.png'}
    assert (read(out / 'a.png') != stale).any()
    aside = out.with_name('out.1')
    assert {path.name for path in aside.iterdir()} == {*(f'{name}.png' for name in SIZES), *OTHERS}
    assert (aside / 'scores.json').read_text() == scores
    assert f'{out} held results of other settings (weights); they were moved to {aside}' in capsys.readouterr().err
    run()
    assert out.with_name('out.2').is_dir() and (out / 'scores.json').read_text() == scores


@pytest.mark.skipif(bool(fault_of(ONEDNN)), reason='this Caffe has no oneDNN')
def test_results_of_another_engine_are_moved_aside(run, tmp_path, capsys, monkeypatch):
    """Both ways. Results of an earlier version name no engine, and are kept as Caffe's own."""
    out = run('--limit', '1')
    said = json.loads((out / 'settings.json').read_text())
    (out / 'settings.json').write_text(json.dumps({name: value for name, value in said.items() if name != 'engine'}))
    before = write_times(out)
    assert write_times(run('--limit', '1')) == before and 'other settings' not in capsys.readouterr().err
    for name, engine in (('out.1', ONEDNN), ('out.2', OWN)):
        monkeypatch.setenv('CAFFE_ENGINE', engine)
        run('--limit', '1')
        assert json.loads((out / 'settings.json').read_text())['engine'] == engine
        assert f'of other settings (engine); they were moved to {tmp_path / name}' in capsys.readouterr().err


def test_two_runs_do_not_share_a_folder(run):
    """The second would move the maps aside that the first still writes."""
    out = run()
    before = {path: path.read_bytes() for path in out.rglob('*') if path.is_file()}
    with locked(out / 'settings.json'), pytest.raises(UserError, match='settings.json is being written by another process'):
        run('--tiling', 'reference')
    assert {path: path.read_bytes() for path in out.rglob('*') if path.is_file()} == before


def test_pngs_of_someone_else_are_not_touched(run, tmp_path):
    """--out is a folder with other pictures."""
    (tmp_path / 'out').mkdir()
    cv2.imwrite(str(tmp_path / 'out' / 'mine.png'), np.zeros((2, 2), np.uint8))
    with pytest.raises(UserError, match='holds PNG files that no earlier test wrote'):
        run()
    assert (tmp_path / 'out' / 'mine.png').exists()


def test_scores_of_fewer_images_do_not_replace_those_of_all(run, capsys):
    """--limit takes the first images. Their scores and pictures get names of their own if there are some of more images."""
    out = run('--limit', '2')
    assert write_times(out).keys() == {'a.png', 'b.png'}
    assert json.loads((out / 'scores.json').read_text())['images'] == 2
    run()
    whole = (out / 'scores.json').read_text()
    sheet = (out / 'pictures' / 'contact_sheet.png').read_bytes()
    assert json.loads(whole)['images'] == 3 and 'has more images' not in capsys.readouterr().err
    run('--limit', '2')
    assert (out / 'scores.json').read_text() == whole and (out / 'pictures' / 'contact_sheet.png').read_bytes() == sheet
    assert json.loads((out / 'scores-first-2.json').read_text())['images'] == 2
    assert (out / 'pictures-first-2' / 'contact_sheet.png').is_file() and 'has more images' in capsys.readouterr().err


def test_results_of_the_first_images_have_a_folder_of_their_own(front_weights, data):
    """This is the default of --out."""
    asked = evaluation.prepare('front_toy', tiling='tight', weights=[front_weights], data=data)
    assert [evaluation.default_out(asked, False, limit).name for limit in (None, 2)] == ['test', 'test-first-2']


def test_truth_of_another_size_is_an_error(run, data):
    """The message names the file and both sizes."""
    cv2.imwrite(str(data / 'b_label.png'), np.zeros((17, 30), np.uint8))
    with pytest.raises(UserError, match=r'b_label.png is 30x17 .*31x17'):
        run()


def test_a_damaged_map_is_named(run):
    """It is not scored as something else."""
    out = run()
    (out / 'c.png').write_bytes(b'')
    with pytest.raises(UserError, match='c.png cannot be read .*; delete it and run'):
        run()


def test_images_without_truth_are_named_before_labelling(run, data, tmp_path, capsys):
    """All images are labelled and nothing is scored. If no image has a truth, nothing is labelled."""
    (data / 'c_label.png').unlink()
    with pytest.raises(UserError, match='1 of 3 images cannot be used; .* nothing is scored:\n  no file at .*c_label.png'):
        run()
    assert write_times(tmp_path / 'out').keys() == {f'{name}.png' for name in SIZES}
    assert not (tmp_path / 'out' / 'scores.json').exists()
    assert 'warning: no label of c at ' in capsys.readouterr().err
    for name in 'ab':
        (data / f'{name}_label.png').unlink()
    with pytest.raises(UserError, match='no image has a label; give a --split'):
        run('--out', str(tmp_path / 'other'))
    assert not (tmp_path / 'other').exists()


def test_images_are_read_ahead_and_maps_written_behind(run, many, front_weights):
    """Other processes do it; every image gets its own map. A second run makes nothing."""
    out = run('--data', str(many))
    predictor = Predictor('front_toy', [front_weights], tiling='tight')
    for path in many.glob('image?.png'):
        np.testing.assert_array_equal(read(out / path.name), predictor.label_map(read(path)))
    first = write_times(out)
    assert len(first) == 10 and write_times(run('--data', str(many))) == first


@pytest.mark.parametrize('options', [(), ('--jobs', '2'), ('--limit', '5')], ids=['read ahead', 'two processes', 'few'])
def test_bad_files_are_named_and_the_rest_is_labelled(run, many, tmp_path, options):
    """An image and a label are cut off, and an image is empty. After they are mended, the same command labels the rest."""
    bad = ('image1.png', 'image2.png', 'image3_label.png')
    whole = {name: (many / name).read_bytes() for name in bad}
    for name, content in whole.items():
        (many / name).write_bytes(b'' if name == 'image2.png' else content[: len(content) // 2])
    with pytest.raises(UserError, match='3 of .* images cannot be used; .* nothing is scored:') as error:
        run('--data', str(many), *options)
    assert all(f'{many / name} cannot be read' in str(error.value) for name in bad)
    first = write_times(tmp_path / 'out')
    count = 5 if '5' in options else 10
    assert first.keys() == {f'image{number}.png' for number in range(count)} - {'image1.png', 'image2.png'}
    assert not (tmp_path / 'out' / 'scores.json').exists()
    for name, content in whole.items():
        (many / name).write_bytes(content)
    second = write_times(run('--data', str(many), *options))
    assert len(second) == count and first.items() <= second.items()


@pytest.fixture
def cluster(tmp_path):
    """The address of a Dask scheduler with two workers, each in its own process."""
    file = tmp_path / 'scheduler.json'
    dask = [sys.executable, '-m', 'dask']
    commands = [[*dask, 'scheduler', '--host', '127.0.0.1', '--port', '0', '--no-dashboard', '--scheduler-file', str(file)]]
    worker = [*dask, 'worker', '--scheduler-file', str(file), '--nthreads', '1', '--no-dashboard', '--no-nanny']
    commands += [[*worker, '--name', name, '--local-directory', str(tmp_path / name)] for name in ('one', 'two')]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=tmp_path) for command in commands]
    try:
        deadline = time.monotonic() + 60
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        address = json.loads(file.read_text())['address']
        with distributed.Client(address) as client:
            client.wait_for_workers(2, timeout=60)
        yield address
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)


def test_processes_and_a_dask_cluster_give_the_same_maps(run, many, front_weights, tmp_path, cluster):
    """Both workers of the cluster take part. A worker that does not see a folder or the weights reports it."""
    alone = {path.name: path.read_bytes() for path in run('--data', str(many)).glob('*.png')}
    for options in (('--jobs', '2'), ('--scheduler', cluster)):
        shutil.rmtree(tmp_path / 'out')
        together = run('--data', str(many), *options)
        assert {path.name: path.read_bytes() for path in together.glob('*.png')} == alone and len(alone) == 10
    with distributed.Client(cluster) as client:
        assert all(client.run(lambda dask_worker: dask_worker.state.executed_count).values())
    job = Job('front_toy', (front_weights,), 'tight', weights_sha256=('another',))
    for folder, fault in ((tmp_path / 'nowhere', 'does not see .*nowhere'), (together, 'is another file than here')):
        with pytest.raises(UserError, match=f'{fault}; every machine must have the same folders'):
            label_in_processes(job, load_split(many, 'test'), folder, 2, scheduler=cluster)


@pytest.mark.parametrize(('address', 'fault'), [
    ('tcp://127.0.0.1:9', r'no Dask scheduler answers at tcp://127.0.0.1:9 \(.*\); tools/README.md'),
    ('tls://127.0.0.1:9', r'tls://127.0.0.1:9: Dask has no certificate for TLS; tools/README.md'),
])  # fmt: skip
def test_no_scheduler_is_an_error(run, many, monkeypatch, address, fault):
    """Nothing listens at the address, or Dask is not configured for TLS."""
    monkeypatch.setattr(spread, 'CONNECT_S', 1)
    with pytest.raises(UserError, match=fault):
        run('--data', str(many), '--scheduler', address)


def test_without_dask_the_message_says_what_to_install(run, many, monkeypatch):
    """It asks for the version in pyproject.toml, because older ones have known security holes."""
    wanted = environment.requirements('dask')[-1]
    monkeypatch.setitem(sys.modules, 'distributed', None)
    with pytest.raises(UserError, match=re.escape(f"run: .venv/bin/pip install '{wanted}'")):
        run('--data', str(many), '--scheduler', 'tcp://127.0.0.1:9')


def test_a_split_without_ground_truth_is_labelled(run, many, capsys):
    """The test images of a benchmark are such a split."""
    records = [replace(record, label=None) for record in load_split(many, 'test')]
    save_split(many, 'test', records)
    out = run('--data', str(many), '--limit', '3')
    assert len(write_times(out)) == 3 and not (out / 'scores.json').exists()
    assert 'no ground truth: 3 images labelled, not scored' in capsys.readouterr().out


def test_the_papers_split_is_the_default(tmp_path):
    """VOC and Cityscapes publish no labels of their test images."""
    for name, split in {
        'dilation8_pascal_voc': 'val',
        'dilation10': 'val',
        'dilation7': 'test',
        'dilation8-camvid': 'test',
    }.items():
        assert evaluation.default_split(resolve(name, NETS), tmp_path, None) == split


def test_without_a_test_split_val_is_taken(run, data, capsys):
    """Your own data may have no test.txt. A message and the scores name the split."""
    save_split(data, 'val', load_split(data, 'test'))
    (data / 'test.json').unlink()
    assert json.loads((run() / 'scores.json').read_text())['settings']['split'] == 'val'
    assert f'split: val, as {data} has no test split' in capsys.readouterr().err


def test_a_missing_split_is_an_error(run, data):
    """The message has the splits that exist. The data set's own file is not one."""
    (data / 'dataset.json').write_text('{}')
    with pytest.raises(UserError, match='no val split .*; there are: test$'):
        run('--split', 'val')


@pytest.fixture
def scores_lmdb(basic_weights, data, tmp_path):
    """Stores the maps of a blob of basic_toy for some images, in this order; returns the LMDB."""

    def store(blob, names, split='test', dataset_name='toy', **changes):
        predictor = Predictor('basic_toy', [basic_weights], size_hw=(372 + 32, 372 + 40))  # one tile covers each image
        rows = []
        for name in names:
            predictor.predict_scores(read(data / f'{name}.png'))
            maps = predictor.net.blobs[blob].data[0].copy()
            rows.append((name, maps, np.full(maps.shape[1:], 255, np.uint8)))
        settings = {'dataset': dataset_name, 'split': split, 'blob': blob, 'net': 'basic_toy'}
        write_features(tmp_path / 'maps', rows, settings | changes)
        return str(tmp_path / 'maps')

    return store


@pytest.mark.parametrize('blob', ['conv5_3', 'final'])
def test_stored_maps_give_the_labels_of_the_images(run, scores_lmdb, basic_weights, data, blob):
    """The maps are found by the image's id, not by their order. The rest of the network runs on them."""
    out = run('--features', scores_lmdb(blob, ['c', 'a', 'b']), net='basic_toy')
    predictor = Predictor('basic_toy', [basic_weights], size_hw=(372 + 32, 372 + 40))
    for name in SIZES:
        np.testing.assert_array_equal(read(out / f'{name}.png'), predictor.label_map(read(data / f'{name}.png')))


def test_the_split_of_stored_maps_is_the_default(run, scores_lmdb, data, capsys):
    """tools/extract_features.py stores the training split by default."""
    save_split(data, 'train', load_split(data, 'test'))
    out = run('--features', scores_lmdb('final', ['a', 'b', 'c'], split='train'), net='basic_toy')
    assert json.loads((out / 'scores.json').read_text())['settings']['split'] == 'train'
    assert 'split: train, which ' in capsys.readouterr().err


@pytest.fixture
def trained(basic_weights, tmp_path):
    """A snapshot that was trained on scores; its run.json says that weights of hash 'one' made them."""
    folder = tmp_path / 'run'
    folder.mkdir()
    manifest = {'kind': 'features', 'blob': 'final', 'weights_sha256': 'one'}
    (folder / 'run.json').write_text(json.dumps({'settings': {}, 'sessions': [], 'lmdb': {'manifest': manifest}}))
    return str(shutil.copy(basic_weights, folder / 'basic_iter_1.caffemodel'))


@pytest.mark.parametrize(('blob', 'names', 'changes', 'message'), [
    ('final', 'ac', {}, '1 of 3 images cannot be used; .*\n  .*maps has no maps of b'),
    ('final', 'a', {'split': 'train'}, 'holds toy train, but you asked for toy test'),
    ('fc7', 'a', {}, 'holds maps of fc7; this network goes on from pool3 or conv4_3 or conv5_3 or final'),
    ('final', 'abc', {'weights_sha256': 'two'},
     'basic_iter_1.caffemodel was trained on maps of .*sha256 one; .*maps of sha256 two'),
])  # fmt: skip
def test_stored_maps_that_do_not_fit_are_refused(run, scores_lmdb, trained, blob, names, changes, message):
    """No maps of an image; another split; a blob at which no network is cut; scores of another front end."""
    lmdb = scores_lmdb(blob, names, **{'weights_sha256': 'one'} | changes)
    with pytest.raises(UserError, match=message):
        run('--features', lmdb, '--split', 'test', '--weights', trained, net='basic_toy')


@pytest.mark.parametrize(('blob', 'made_with'), [('final', 'one'), ('conv5_3', 'two')])
def test_maps_of_the_weights_trained_on_are_taken(run, scores_lmdb, trained, blob, made_with):
    """The hash is the same, or the blob comes before the one at which training began."""
    lmdb = scores_lmdb(blob, 'abc', weights_sha256=made_with)
    assert (run('--features', lmdb, '--weights', trained, net='basic_toy') / 'scores.json').exists()
