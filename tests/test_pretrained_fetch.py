"""Downloads from a real HTTP server on this machine: whole, cut off and resumed, wrong, mirrored, unreachable; the table."""

import hashlib
import http.server
import json
import threading
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from dataset_prep.datasets import DATASETS
from pretrained import caffemodel, fetch
from pretrained.weights import WEIGHTS, WeightFile, as_markdown, seen_in_training
from prototxt.experiments import COCO_SPLIT, NETS, STAGES
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests.port_files import as_theano
from tests.toy_nets import random_weights
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.training.initial import GENERATED

BODY = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'


class Server(http.server.ThreadingHTTPServer):
    """Has the file of the row 'weights' at /good/w.caffemodel. A test changes what it serves and how."""

    def __init__(self, folder, monkeypatch):
        super().__init__(('127.0.0.1', 0), Handler)
        self.folder, self.monkeypatch = folder, monkeypatch
        self.url = f'http://127.0.0.1:{self.server_port}'
        self.path = folder / 'sub' / 'w.caffemodel'
        self.body, self.bodies = BODY, {}  # at every address below /good/, and at single ones
        self.ranges, self.version_headers = True, {}
        self.cut_after = None  # bytes of the next answer
        self.asked = []  # (path, Range, If-Range) of each request

    def row(self, **changes):
        """Change fields of the row."""
        urls, sums = (f'{self.url}/good/w.caffemodel',), (('sha256', SHA256),)
        row = WEIGHTS.get('weights', WeightFile('sub/w.caffemodel', 'none', 'a test', urls, size=len(BODY), sums=sums))
        self.monkeypatch.setitem(WEIGHTS, 'weights', replace(row, **changes))

    def fetched(self):
        """The bytes of the fetched file."""
        path = fetch.fetch('weights', self.folder)
        assert path == self.path
        return path.read_bytes()

    def names(self):
        """What lies in the folder of the file."""
        return [path.name for path in self.path.parent.iterdir()]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server, wanted, version = self.server, self.headers.get('Range'), self.headers.get('If-Range')
        server.asked.append((self.path, wanted, version))
        if not self.path.startswith('/good/'):
            return self.send_error(404)
        body = server.bodies.get(self.path, server.body)
        start = int(wanted.removeprefix('bytes=').removesuffix('-')) if wanted and server.ranges else 0
        start = 0 if version and version not in server.version_headers.values() else start
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        for header in server.version_headers.items():
            self.send_header(*header)
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        end, server.cut_after = server.cut_after, None
        self.wfile.write(body[start:][:end])

    def log_message(self, *args):
        """Nothing is printed."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.delenv(fetch.MIRRORS, raising=False)
    with Server(tmp_path, monkeypatch) as running:
        running.row()
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_a_file_arrives_and_is_not_fetched_twice(server):
    """The second call only checks the sum."""
    for _ in range(2):
        assert server.fetched() == BODY and server.names() == ['w.caffemodel']
    assert server.asked == [('/good/w.caffemodel', None, None)]


def test_a_download_that_was_cut_off_goes_on(server):
    """An error keeps what has arrived; the second call asks for the rest only."""
    server.cut_after = 1_000_000
    with pytest.raises(UserError, match='could not be fetched .*goes on from what has arrived'):
        server.fetched()
    have = server.path.with_name('w.caffemodel.part').stat().st_size
    assert 0 < have <= 1_000_000
    assert server.fetched() == BODY
    assert server.asked[1:] == [('/good/w.caffemodel', f'bytes={have}-', None)]
    assert server.names() == ['w.caffemodel']


@pytest.mark.parametrize(('headers', 'if_range'), [
    ({'ETag': '"a"', 'Last-Modified': DATE}, '"a"'), ({'ETag': 'W/"a"', 'Last-Modified': DATE}, DATE),
    ({'Last-Modified': DATE}, DATE), ({'ETag': 'W/"a"'}, None), ({}, None),
])  # fmt: skip
def test_the_server_is_told_the_version_of_the_part(server, headers, if_range):
    """A weak tag is not allowed in If-Range (RFC 9110, 13.1.5)."""
    server.version_headers, server.cut_after = headers, 1_000_000
    with pytest.raises(UserError):
        server.fetched()
    assert server.fetched() == BODY
    assert server.asked[0][2] is None and server.asked[1][1] and server.asked[1][2] == if_range


def test_another_version_starts_over(server):
    """Otherwise the beginning of the old file and the end of the new one would have the right size."""
    server.version_headers, server.cut_after = {'ETag': '"a"'}, 1_000_000
    with pytest.raises(UserError):
        server.fetched()
    server.version_headers, server.body = {'ETag': '"b"'}, BODY[::-1]
    server.row(sums=(('sha256', hashlib.sha256(BODY[::-1]).hexdigest()),))
    assert server.fetched() == BODY[::-1]


@pytest.mark.parametrize(('part', 'address', 'ranges', 'asked'), [
    (b'x' * 1000, 'http://127.0.0.1:9/good/w.caffemodel', True, None), (b'x' * 1000, None, True, None),
    (BODY[:1000], 'its own', False, 'bytes=1000-'), (BODY, 'its own', True, f'bytes={len(BODY)}-'),
], ids=['another address', 'unknown address', 'server without ranges', 'complete'])  # fmt: skip
def test_what_a_killed_download_left(server, part, address, ranges, asked):
    """It is continued only from the same address by a server that can."""
    server.ranges = ranges
    address = WEIGHTS['weights'].urls[0] if address == 'its own' else address
    server.path.parent.mkdir()
    server.path.with_name('w.caffemodel.part').write_bytes(part)
    server.path.with_name('w.caffemodel.part.url').write_text(json.dumps({'url': address, 'version': None}))
    assert server.fetched() == BODY
    assert server.asked == [('/good/w.caffemodel', asked, None)]


def test_a_wrong_file_is_kept_aside(server):
    """It never has the name of the weights; the next call starts from nothing."""
    server.body = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(UserError, match='sha256 .* it should be .*not used'):
        server.fetched()
    assert server.names() == ['w.caffemodel.wrong']
    server.body = BODY
    assert server.fetched() == BODY


@pytest.mark.parametrize('algorithm', ['sha1', 'md5'])
def test_every_sum_counts(server, algorithm):
    """The size and one sum are right, the other sum is wrong."""
    server.row(sums=(('sha256', SHA256), (algorithm, '0' * 32)))
    with pytest.raises(UserError, match=f'{algorithm} {hashlib.new(algorithm, BODY).hexdigest()}, it should be 0000'):
        server.fetched()


def test_without_a_known_sum_it_must_be_a_caffemodel(server, tmp_path):
    """A web page with the name of the weights is refused, and so is a file smaller than its layers."""
    server.row(size=None, sums=())
    server.body = b'<html>Gone</html>'
    with pytest.raises(UserError, match='not a caffemodel'):
        server.fetched()
    caffemodel.write(tmp_path / 'whole', {'fc': [np.zeros(100)]})
    server.body = (tmp_path / 'whole').read_bytes()
    server.row(min_size=len(server.body) + 1)
    with pytest.raises(UserError, match='its layers alone take'):
        server.fetched()
    server.row(min_size=400)
    assert server.fetched() == server.body


def test_a_file_of_the_users_own_is_checked_and_left(server):
    """A wrong one is named; it is neither renamed nor replaced."""
    server.path.parent.mkdir()
    server.path.write_bytes(b'mine')
    with pytest.raises(UserError, match='4 bytes, it should have 3,000,000; move it away'):
        server.fetched()
    assert server.path.read_bytes() == b'mine' and not server.asked


def test_mirrors_come_first_then_the_publisher(server, monkeypatch):
    """A mirror without the file is skipped; after one with it, the publisher is not asked."""
    monkeypatch.setenv(fetch.MIRRORS, f'{server.url}/none {server.url}/good/')
    server.row(urls=(f'{server.url}/publisher',))
    assert server.fetched() == BODY
    assert [path for path, *_ in server.asked] == ['/none/w.caffemodel', '/good/w.caffemodel']


@pytest.mark.parametrize('mirror', ['host/folder', '/host/folder', 'host:8000/folder'])
def test_a_mirror_without_a_scheme_is_refused(server, monkeypatch, mirror):
    monkeypatch.setenv(fetch.MIRRORS, f'{server.url}/good {mirror}')
    with pytest.raises(UserError, match=f'WEIGHTS_MIRRORS: {mirror} is not the address .* https://host'):
        server.fetched()
    assert not server.asked


def test_a_dead_host_says_what_to_do(server, monkeypatch):
    """The message has every address with its answer, the place for a copy, and the variable for mirrors."""
    server.row(urls=('http://127.0.0.1:9/w.caffemodel',), else_do='ask a neighbour')
    monkeypatch.setenv(fetch.MIRRORS, f'{server.url}/none')
    with pytest.raises(UserError) as caught:
        server.fetched()
    said = str(caught.value)
    assert f'{server.url}/none/w.caffemodel: HTTP Error 404' in said and 'http://127.0.0.1:9/w.caffemodel: ' in said
    assert f'put a copy of your own at {server.path}' in said and 'WEIGHTS_MIRRORS' in said
    assert said.endswith('that has w.caffemodel; ask a neighbour')


def test_the_next_address_is_tried_after_no_file_or_a_wrong_one(server):
    """The wrong file is kept aside; no address is asked after the right one."""
    server.bodies['/good/wrong'] = b'<html>Gone</html>'
    places = ('none', 'good/wrong', 'good/w.caffemodel', 'good/last')
    server.row(urls=tuple(f'{server.url}/{place}' for place in places))
    assert server.fetched() == BODY
    assert [path for path, *_ in server.asked] == [f'/{place}' for place in places[:3]]
    assert server.path.with_name('w.caffemodel.wrong').read_bytes() == b'<html>Gone</html>'


def test_a_port_is_converted_if_the_owner_does_not_answer(server, tmp_path, monkeypatch, capsys):
    """A port of another network is kept aside; the network's own, in Keras's form, becomes the caffemodel."""
    for net_name in ('basic_toy', 'front_toy'):
        layers = caffemodel.load(random_weights(net_name, tmp_path / 'w.caffemodel'))
        as_theano(layers, tmp_path / 'port.h5')
        server.bodies[f'/good/{net_name}.h5'] = (tmp_path / 'port.h5').read_bytes()
    urls = tuple(f'{server.url}/{place}' for place in ('none', 'good/basic_toy.h5', 'good/front_toy.h5'))
    monkeypatch.setitem(WEIGHTS, 'front_toy', replace(WEIGHTS['weights'], file='toy.caffemodel', urls=urls))
    path = fetch.fetch('front_toy', tmp_path)
    found = caffemodel.load(path)
    assert all((one == other).all() for name in layers for one, other in zip(found[name], layers[name], strict=True))
    assert f'converted from {urls[-1]}; its checksum is not known' in capsys.readouterr().err
    assert (tmp_path / 'toy.caffemodel.wrong').read_bytes() == server.bodies['/good/basic_toy.h5']
    server.asked.clear()
    assert fetch.fetch('front_toy', tmp_path) == path and not server.asked


def test_a_caffemodel_in_a_zip_archive(server, tmp_path):
    """DeepLab's authors publish one, with a file that macOS adds. The caffemodel is checked like any other."""
    caffemodel.write(tmp_path / 'whole', {'fc': [np.zeros(300)]})
    whole = (tmp_path / 'whole').read_bytes()
    for address, held in (('/good/short.zip', b'short'), ('/good/w.zip', whole)):
        with zipfile.ZipFile(tmp_path / 'w.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('__MACOSX/._w.caffemodel', b'x')
            archive.writestr('w.caffemodel', held)
        server.bodies[address] = (tmp_path / 'w.zip').read_bytes()
    server.bodies['/good/cut.zip'] = server.bodies['/good/w.zip'][:200]
    urls = [f'{server.url}/good/{name}.zip' for name in ('cut', 'short', 'w')]
    server.row(urls=urls, size=None, min_size=1200, sums=())
    assert server.fetched() == whole
    server.row(urls=urls[:2])
    server.path.unlink()
    said = r'cut.zip: .*damaged, or not an archive.*short.zip: 5 bytes, its layers alone take 1,200'
    with pytest.raises(UserError, match=said):
        server.fetched()


def test_a_file_that_is_made_here_is_not_fetched(tmp_path):
    """The message gives the command."""
    with pytest.raises(UserError, match='make weights-vgg16'):
        fetch.fetch('vgg16', tmp_path)


def test_command_prints_licence_and_an_unknown_sum(server, tmp_path, capsys):
    """Names can be shortened; if no sum is published, the file's own is printed."""
    fetch.main(['weight', '--folder', str(tmp_path)])
    said = capsys.readouterr()
    assert '3,000,000 bytes, sha256 checked; licence: none' in said.out and 'warning' not in said.err
    caffemodel.write(server.path, {'fc': [np.zeros(3)]})
    server.row(size=None, sums=())
    fetch.main(['weights', '--folder', str(tmp_path)])
    said = capsys.readouterr()
    assert f'its sha256 is {hashlib.sha256(server.path.read_bytes()).hexdigest()}; ' in said.out
    assert (
        said.err
        == f'warning: {server.path}: nobody publishes its checksum; it is a whole caffemodel, and nothing more is known\n'
    )


# The table


def test_table_agrees_with_the_networks():
    """A released file has the size of its net's parameters, and each file that a stage starts from has a row."""
    released = [name for name in NETS if name in WEIGHTS]
    authors = ['dilation8_pascal_voc', 'dilation8_camvid', 'dilation7_kitti', 'dilation10_cityscapes']
    compared = ['fcn32s', 'fcn16s', 'fcn8s', 'deeplab_largefov']
    variants = ['fcn8s_pascal_voc_at_once', 'fcn8s_pascal_voc_crfrnn']
    assert sorted(released) == sorted([*authors, *variants, *(f'{name}_pascal_voc' for name in compared)])
    for name in released:
        held = {layer: shapes for layer, shapes in param_shapes(deploy(name)).items() if layer != 'fc8_interp'}
        payload = 4 * sum(int(np.prod(shape)) for shapes in held.values() for shape in shapes)
        assert payload <= (WEIGHTS[name].size or WEIGHTS[name].min_size) <= payload + 20_000
    named = {name for stage in STAGES.values() for name in stage.init} - set(STAGES) - set(GENERATED)
    assert named <= set(WEIGHTS)


@pytest.mark.parametrize('name', WEIGHTS)
def test_rows_are_whole(name):
    """Each has one origin, sums of the right length, a licence and a source."""
    row = WEIGHTS[name]
    assert sum(origin is not None for origin in (row.urls or None, row.pip, row.made_by)) == 1
    assert all(len(value) == 2 * hashlib.new(algorithm).digest_size for algorithm, value in row.sums)
    assert row.licence and row.source and (not row.pip or row.sums)


@pytest.mark.parametrize(('name', 'data', 'trained', 'scored'), [
    ('dilation8_pascal_voc', 'pascal_voc', ['train_aug', 'train_aug_coco'], ['val', 'test']),  # paper Sec. 5
    ('dilation8_camvid', 'camvid', ['train'], ['val', 'test']), ('dilation7_kitti', 'kitti', ['train'], ['test']),  # App. A
    ('dilation10_cityscapes', 'cityscapes', ['train', 'train_halves'], ['val', 'test']),
])  # fmt: skip
def test_the_papers_models_saw_what_the_paper_says(name, data, trained, scored):
    """They saw the training images, and no image that they are scored on."""
    row = WEIGHTS[name]
    assert all(seen_in_training([row.file], data, split) is row for split in trained) and row.saw_by.startswith('paper ')
    assert not any(seen_in_training([row.file], data, split) for split in scored)


@pytest.mark.parametrize('name', [name for name, row in WEIGHTS.items() if row.saw])
def test_the_training_images_of_a_file_have_a_source_and_are_known_splits(name):
    """A misspelt split would never cause a warning."""
    known = {(facts.name, split) for facts in DATASETS.values() for split in facts.splits} | {('pascal_voc', COCO_SPLIT)}
    assert WEIGHTS[name].saw_by and set(WEIGHTS[name].saw) <= known


def test_readme_has_the_table():
    """As `.venv/bin/python -m pretrained.weights` prints it."""
    assert f'\n\n{as_markdown()}\n' in (ROOT / 'pretrained' / 'README.md').read_text()
