"""The dense CRF: files of scores and parameters, refinement by both engines, the commands, and the grid search."""

import json
import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from dataset_prep.records import Record, save_split
from tools import crf, crf_search, test
from tools.bench import crf_speed
from tools.crfs import dense_crf, grid_search
from tools.crfs.dense_crf import CrfParameters, by_lattice, load_parameters, refine, save_parameters
from tools.crfs.grid_search import around
from tools.crfs.heat_map import cells
from tools.inference.score_maps import ScoreMap, prepare_folder, read_scores, score_path, write_scores
from tools.support.errors import UserError
from tools.support.paths import ROOT

CLASSES, HW = 7, (40, 56)
NARROW = CrfParameters(bilateral_weight=5, position_std=20, colour_std=15)


def scene(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An image of a disc, its labels, and blurred and noisy probabilities (C, h, w) on cells of 8 pixels."""
    random = np.random.default_rng(seed)
    rows, columns = np.indices(HW)
    truth = np.where((rows - 20) ** 2 + (columns - 24 - 2 * seed) ** 2 < 150, 2, 0).astype(np.uint8)
    image = (np.where(truth[..., None] == 2, 190, 60) + random.normal(0, 6, (*HW, 3))).clip(0, 255).astype(np.uint8)
    blurred = np.stack([cv2.GaussianBlur((truth == label).astype(np.float32), (0, 0), 4) for label in range(CLASSES)])
    logits = 3 * blurred[:, ::8, ::8] + random.normal(0, 0.4, (CLASSES, 5, 7))
    prob = np.exp(logits) / np.exp(logits).sum(axis=0)
    return image, truth, prob.astype(np.float32)


@pytest.fixture
def stored(tmp_path):
    """The folders of a split of three scenes, and of their scores."""
    data, scores = tmp_path / 'data', tmp_path / 'scores'
    data.mkdir()
    records = []
    for number in range(3):
        image, truth, prob = scene(number)
        paths = data / f'i{number}.png', data / f'i{number}_label.png'
        cv2.imwrite(str(paths[0]), image)
        cv2.imwrite(str(paths[1]), truth)
        records.append(Record(f'i{number}', *paths, 'toy'))
        write_scores(score_path(scores, f'i{number}'), ScoreMap(prob, HW, 8))
    save_split(data, 'val', records)
    return data, scores


@pytest.fixture
def narrow(tmp_path):
    """A file with the parameters NARROW."""
    save_parameters(tmp_path / 'crf.json', NARROW)
    return str(tmp_path / 'crf.json')


def test_score_maps_are_read_as_they_were_written(tmp_path):
    """Probabilities have the precision of float16. Cells that the interpolation does not need are left out."""
    prob = np.random.default_rng(0).dirichlet(np.ones(CLASSES), (20, 20)).transpose(2, 0, 1).astype(np.float32)
    write_scores(tmp_path / 'a.scores', ScoreMap(prob, HW, 8))
    read = read_scores(tmp_path / 'a.scores')
    assert (read.size_hw, read.factor, read.prob.shape) == (HW, 8, (CLASSES, 6, 8))
    np.testing.assert_allclose(read.prob, prob[:, :6, :8], atol=2**-11)
    np.testing.assert_allclose(read.full(), ScoreMap(prob, HW, 8).full(), atol=2**-11)
    assert (tmp_path / 'a.scores').stat().st_size < 2 * CLASSES * 6 * 8 + 200


@pytest.mark.parametrize(('spoil', 'fault'), [
    (lambda content: content[:-5], 'damaged'),
    (lambda content: b'PNG' + content, 'damaged .it is no score map'),
    (lambda content: content.replace(b'"version": 1', b'"version": 2'), 'of version 2, not 1'),
    (lambda content: b'', 'damaged'),
])  # fmt: skip
def test_bad_score_maps_are_refused(tmp_path, spoil, fault):
    """The message says what is wrong and what to do."""
    path = tmp_path / 'a.scores'
    write_scores(path, ScoreMap(scene()[2], HW, 8))
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(UserError, match=fault):
        read_scores(path)
    with pytest.raises(UserError, match='--save-scores'):
        read_scores(tmp_path / 'b.scores')


def test_refined_labels_follow_the_image():
    """A blurred disc gets the edge of its colours."""
    image, truth, prob = scene()
    full = ScoreMap(prob, HW, 8).full()
    refined = refine(full, image, NARROW)
    np.testing.assert_allclose(refined.sum(axis=0), 1, atol=1e-4)
    before, after = ((maps.argmax(axis=0) != truth).mean() for maps in (full, refined))
    assert before > 0.04 and after < 0.01


@pytest.mark.skipif(sys.version_info >= (3, 13), reason='pydensecrf2 does not compile for Python 3.13')
def test_both_engines_agree():
    """Kraehenbuehl's code is used if it is installed, else the mean field of CRF-RNN."""
    image, _, prob = scene()
    full = ScoreMap(prob, HW, 8).full()
    assert dense_crf.engine() is dense_crf.by_pydensecrf
    logits = np.log(np.clip(full, 1e-5, 1))
    for parameters in (NARROW, CrfParameters(), CrfParameters(0, 10, 5, 2, 1.5, 3)):
        theirs = dense_crf.by_pydensecrf(logits, image, parameters)
        np.testing.assert_allclose(by_lattice(logits, image, parameters), theirs, atol=2e-5)


def test_parameter_files(tmp_path):
    """Saved parameters are loaded. An error names the file and the fault."""
    path = tmp_path / 'crf.json'
    save_parameters(path, NARROW, search={'images': 3})
    assert load_parameters(path) == NARROW
    for content, fault in (('{}', 'format'), ('[', 'Expecting'), ('{"format": "x"}', "format is 'x'")):
        path.write_text(content)
        with pytest.raises(UserError, match=fault):
            load_parameters(path)
    said = {'format': dense_crf.FORMAT, 'parameters': {'colour': 3}}
    path.write_text(json.dumps(said))
    with pytest.raises(UserError, match='no such parameters: colour'):
        load_parameters(path)
    path.write_text(json.dumps({'format': dense_crf.FORMAT, 'parameters': {'colour_std': -1}}))
    with pytest.raises(UserError, match='crf.json: dense CRF: colour_std -1 must be a number .*; make it with'):
        load_parameters(path)
    with pytest.raises(UserError, match='colour_std 0 must be'):
        CrfParameters(colour_std=0)


def assert_refined(out, stored):
    """The label maps in `out` are those of refine() on the stored scores."""
    data, scores = stored
    for path in sorted(out.glob('*.png')):
        image = cv2.imread(str(data / path.name))
        expected = refine(read_scores(score_path(scores, path.stem)).full(), image, NARROW).argmax(axis=0)
        np.testing.assert_array_equal(cv2.imread(str(path), cv2.IMREAD_UNCHANGED), expected)


def test_crf_command(stored, narrow, tmp_path, capsys):
    """tools/crf.py refines the named images with the parameters of the file."""
    data, scores = stored
    images = [str(data / 'i0.png'), str(data / 'i2.png')]
    crf.main(['--scores', str(scores), '--images', *images, '--out', str(tmp_path / 'out'), '--crf', narrow])
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['i0.png', 'i2.png']
    assert_refined(tmp_path / 'out', stored)
    assert 'colour_std=15' in capsys.readouterr().out
    with pytest.raises(UserError, match='no score map at .*i0_label.scores'):
        crf.main(['--scores', str(scores), '--images', str(data), '--out', str(tmp_path / 'out2')])
    with pytest.raises(UserError, match='would be overwritten'):
        crf.main(['--scores', str(scores), '--images', *images, '--out', str(data)])


SMALL_GRID = ['--bilateral-weight', '2', '5', '--position-std', '10', '20', '--colour-std', '5', '15', '--iterations', '3']


def search(stored, out, *options):
    data, scores = stored
    argv = ['--scores', str(scores), '--data', str(data), '--out', str(out), *SMALL_GRID, *options]
    crf_search.main(argv)
    return [json.loads(line) for line in (out / 'trials.jsonl').read_text().splitlines()]


def test_search_finds_the_best_parameters(stored, tmp_path, capsys):
    """It tries a coarse grid, then half the steps around the best. It writes the file for --crf and a picture."""
    out = tmp_path / 'search'
    trials = search(stored, out, '--rounds', '2')
    assert len(trials) >= 1 + 8 + 10 and trials[0]['parameters'] is None
    coarse = {(row['parameters']['bilateral_weight'], row['parameters']['colour_std']) for row in trials[1:9]}
    assert coarse == {(2, 5), (2, 15), (5, 5), (5, 15)}
    iou = [grid_search.scoring.mean_iou(np.array(row['matrix'])) for row in trials]
    best = int(np.argmax(iou[1:])) + 1
    assert load_parameters(out / 'crf.json') == CrfParameters(**trials[best]['parameters'])
    found = json.loads((out / 'crf.json').read_text())['search']
    assert found['mean_iou'] == pytest.approx(iou[best]) and found['mean_iou_without_crf'] == pytest.approx(iou[0])
    assert iou[best] > iou[0] + 0.1
    assert cv2.imread(str(out / 'heat_map.png')).shape[2] == 3
    said = capsys.readouterr().out
    assert said.startswith('grid: bilateral_weight 2 5, position_std 10 20, colour_std 5 15\n')
    assert 'images/s' in said and f'mean IoU {100 * iou[best]:.2f} %' in said


def test_search_goes_on_where_it_was(stored, tmp_path, monkeypatch):
    """Only parameters without a whole line are tried again."""
    out = tmp_path / 'search'
    first = search(stored, out, '--rounds', '1')
    lines = (out / 'trials.jsonl').read_text().splitlines(keepends=True)
    (out / 'trials.jsonl').write_text(''.join(lines[:6]) + lines[6][:30])
    made = []
    count = grid_search.run_on_cores
    monkeypatch.setattr(grid_search, 'run_on_cores', lambda *args: made.append(args[2]) or count(*args))
    assert search(stored, out, '--rounds', '1') == first
    assert len(made) == len(first) - 6


def test_a_search_on_other_images_moves_the_earlier_one_aside(stored, tmp_path, capsys):
    """Its parameters and picture are moved too; other files in the folder stay."""
    out, left = tmp_path / 'search', {'trials.jsonl', 'crf.json', 'heat_map.png', 'settings.json'}
    first = search(stored, out, '--rounds', '1')
    (out / 'steps.json').write_text('[]')
    second = search(stored, out, '--rounds', '1', '--images', '2')
    assert first[0]['matrix'] != second[0]['matrix']
    aside = tmp_path / 'search.1'
    assert [json.loads(line) for line in (aside / 'trials.jsonl').read_text().splitlines()] == first
    assert {path.name for path in aside.iterdir()} == left and {path.name for path in out.iterdir()} == {*left, 'steps.json'}
    assert f'{out} held results of other settings (images); they were moved to {aside}' in capsys.readouterr().err


def test_trials_of_unknown_origin_are_refused(stored, tmp_path):
    """No settings.json says on which images they were made."""
    (tmp_path / 'trials.jsonl').write_text('{}\n')
    with pytest.raises(UserError, match='holds trials.jsonl that no earlier search wrote; choose another folder by --out'):
        search(stored, tmp_path)


def test_score_maps_of_other_settings_are_moved_aside(tmp_path, capsys):
    """The network may have needed hours for them. A message says which settings changed."""
    folder, scores = tmp_path / 'scores', ScoreMap(scene()[2], HW, 8)
    old, files = {'net': 'x', 'weights': 'a'}, {'a.scores', 'b.scores', 'settings.json'}
    prepare_folder(folder, old)
    for name in 'ab':
        write_scores(score_path(folder, name), scores)
    prepare_folder(folder, old)
    assert {path.name for path in folder.iterdir()} == files
    prepare_folder(folder, {'net': 'x', 'weights': 'b'})
    assert {path.name for path in folder.iterdir()} == {'settings.json'}
    aside = tmp_path / 'scores.1'
    assert {path.name for path in aside.iterdir()} == files
    assert json.loads((aside / 'settings.json').read_text()) == old
    assert f'{folder} held results of other settings (weights); they were moved to {aside}' in capsys.readouterr().err


@pytest.mark.parametrize('said', ['{', '[]', '{"net": "x"}', None])
def test_score_maps_of_unknown_origin_are_refused(tmp_path, said):
    """settings.json is damaged, has other keys, or is missing. The maps stay."""
    write_scores(score_path(tmp_path, 'a'), ScoreMap(scene()[2], HW, 8))
    if said:
        (tmp_path / 'settings.json').write_text(said)
    with pytest.raises(UserError, match='holds score maps that no earlier test wrote; choose another folder by --save-scores'):
        prepare_folder(tmp_path, {'net': 'x', 'weights': 'b'})
    assert score_path(tmp_path, 'a').is_file()


def test_search_survives_a_kill(stored, tmp_path):
    """After a kill, the same command gives the result of one run."""
    data, scores = stored
    whole = search(stored, tmp_path / 'whole', '--rounds', '1')
    out = tmp_path / 'killed'
    command = [sys.executable, str(ROOT / 'tools' / 'crf_search.py'), '--out', str(out), '--scores', str(scores)]
    command += ['--data', str(data), *SMALL_GRID, '--rounds', '1']
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    while not (out / 'trials.jsonl').exists() or not (out / 'trials.jsonl').read_text().count('\n'):
        assert process.poll() is None
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert search(stored, out, '--rounds', '1') == whole


def test_the_readme_has_the_first_grid():
    """It differs from that of DeepLab's authors."""
    shown = [', '.join(f'{value:g}' for value in values) for values in grid_search.AXES.values()]
    said = ' '.join((ROOT / 'tools' / 'crfs' / 'README.md').read_text().split())
    assert 'weight {}, position {}, colour {} (27 trials)'.format(*shown) in said


def test_grid_around_a_value():
    """The neighbours are one step away and not below the least value."""
    assert around(5, 1.5, 0.25) == (3.5, 5, 6.5)
    assert around(0.5, 1.0, 0.25) == (0.25, 0.5, 1.5)


def test_the_bench_refuses_an_image_that_is_none(tmp_path):
    """The error comes before it starts processes."""
    with pytest.raises(UserError, match='nofile.png is not an image .*; give another --image'):
        crf_speed.compare(tmp_path / 'nofile.png')


def test_cells_of_the_heat_map():
    """A cell is the best mean IoU in percent for two deviations; NaN if these were not tried."""
    tried = {CrfParameters(3, 40, 5): 0.5, CrfParameters(3, 40, 5, 1): 0.6, CrfParameters(4, 50, 5): 0.7}
    np.testing.assert_array_equal(cells(tried, 3, [40, 50], [5]), [[60], [np.nan]])


@pytest.fixture
def evaluate(front_weights, stored, tmp_path):
    """Runs tools/test.py on the three scenes; returns its output folder and scores.json."""

    def evaluate(name, *options):
        out, words = tmp_path / name, ['--weights', front_weights, '--data', stored[0], '--out', tmp_path / name, *options]
        test.main(['--net', 'front-toy', '--split', 'val', '--tiling', 'tight', *map(str, words)])
        return out, json.loads((out / 'scores.json').read_text())

    return evaluate


def test_the_test_command_refines_the_scores_that_it_stores(evaluate, stored, narrow):
    """plain/ has the maps without the CRF. Later runs take the stored scores, also for other parameters."""
    out, scores = evaluate('out', '--crf', narrow)
    assert scores['settings']['crf']['colour_std'] == 15
    assert_refined(out, (stored[0], out / 'scores'))
    for name in ('i0', 'i1', 'i2'):
        written = cv2.imread(str(out / 'plain' / f'{name}.png'), cv2.IMREAD_UNCHANGED)
        labels = read_scores(score_path(out / 'scores', name)).full().argmax(axis=0)
        assert (written != labels).mean() < 0.01  # half precision may turn a tie
    (out / 'i1.png').unlink()
    before = score_path(out / 'scores', 'i1').stat().st_mtime_ns
    evaluate('out', '--crf', narrow)
    assert (out / 'i1.png').is_file() and score_path(out / 'scores', 'i1').stat().st_mtime_ns == before
    save_parameters(out.parent / 'crf.json', CrfParameters())
    evaluate('out', '--crf', narrow)
    assert score_path(out / 'scores', 'i1').stat().st_mtime_ns == before


def test_the_score_without_crf_stands_beside_the_one_with(evaluate, stored, narrow, monkeypatch, capsys):
    """It is the score of the same command without --crf. If the scores are stored already, the network does not run again."""
    data, kept = stored[0], stored[0].parent / 'kept'
    _, alone = evaluate('alone', '--save-scores', kept)
    capsys.readouterr()
    found = [evaluate('ran', '--crf', narrow)]
    monkeypatch.setattr('tools.report.evaluation.label_records', lambda *_: pytest.fail('the network runs'))
    found.append(evaluate('stored', '--crf', narrow, '--save-scores', kept))
    assert capsys.readouterr().out.count('without CRF') == 2
    for _, scores in found:
        assert scores['without_crf']['mean_iou'] == pytest.approx(alone['mean_iou'], abs=0.002)  # half precision may turn a tie
    out, _ = found[1]
    assert {path.stem for path in out.glob('*.png')} == {'i0', 'i1', 'i2'}
    assert_refined(out, (data, kept))


def test_both_curves_near_boundaries_are_drawn(evaluate, narrow, capsys):
    """Chen et al. draw both to show what the CRF does near boundaries."""
    _, scores = evaluate('out', '--crf', narrow, '--trimap')
    curve = scores['without_crf']['trimap']
    assert len(curve['mean_iou']) == 40 and curve['pixels'][0] < curve['pixels'][-1]
    assert 'mean IoU % near boundaries without CRF: ' in capsys.readouterr().out
