"""Downloads from a real HTTP server on this machine: whole, cut off and resumed, wrong, mirrored, unreachable."""

import hashlib
import http.server
import json
import threading
import zipfile
from dataclasses import replace
from functools import partial

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


class Server:
    """What the server holds and does, and the requests it has had."""

    def __init__(self):
        self.body, self.ranges, self.cut_after, self.asked = BODY, True, None, []
        self.bodies: dict[str, bytes] = {}  # of single addresses
        self.versions: dict[str, str] = {}  # headers
        self.if_range: list[str | None] = []
        self.http = http.server.ThreadingHTTPServer(('127.0.0.1', 0), partial(Handler, self))
        self.url = f'http://127.0.0.1:{self.http.server_port}'


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves /good/..., with ranges if it has them and If-Range is its version; cuts an answer off after `cut_after`, once."""

    def __init__(self, server, *args):
        self.held = server
        super().__init__(*args)

    def do_GET(self):
        held, wanted = self.held, self.headers.get('Range')
        held.asked.append((self.path, wanted))
        version = self.headers.get('If-Range')
        held.if_range.append(version)
        if not self.path.startswith('/good/'):
            return self.send_error(404)
        body = held.bodies.get(self.path, held.body)
        start = int(wanted.removeprefix('bytes=').removesuffix('-')) if wanted and held.ranges else 0
        start = 0 if version and version not in held.versions.values() else start
        if start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        if start:
            self.send_header('Content-Range', f'bytes {start}-{len(body) - 1}/{len(body)}')
        for header in held.versions.items():
            self.send_header(*header)
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        end, held.cut_after = held.cut_after, None
        self.wfile.write(body[start:][:end])

    def log_message(self, *args):
        """Requests are kept in `asked`, not printed."""


@pytest.fixture
def server(monkeypatch):
    """A running server, and a row 'weights' of the table whose file it has."""
    running = Server()
    thread = threading.Thread(target=running.http.serve_forever, args=(0.02,))
    thread.start()
    url = f'{running.url}/good/w.caffemodel'
    row = WeightFile('sub/w.caffemodel', 'none', 'a test', (url,), size=len(BODY), sums=(('sha256', SHA256),))
    monkeypatch.setitem(WEIGHTS, 'weights', row)
    monkeypatch.delenv(fetch.MIRRORS, raising=False)
    yield running
    running.http.shutdown()
    running.http.server_close()
    thread.join()


def leave_part(tmp_path, data, url):
    """What a download from `url` that was killed leaves."""
    part = tmp_path / 'sub' / 'w.caffemodel.part'
    part.parent.mkdir()
    part.write_bytes(data)
    part.with_name(part.name + '.url').write_text(json.dumps({'url': url, 'version': None}))


def change_row(monkeypatch, **fields):
    monkeypatch.setitem(WEIGHTS, 'weights', replace(WEIGHTS['weights'], **fields))


def test_a_file_arrives_and_is_not_fetched_twice(server, tmp_path):
    """The second call only checks the sum."""
    path = fetch.fetch('weights', tmp_path)
    assert path == tmp_path / 'sub' / 'w.caffemodel' and path.read_bytes() == BODY
    fetch.fetch('weights', tmp_path)
    assert server.asked == [('/good/w.caffemodel', None)]
    assert list(path.parent.iterdir()) == [path]


def test_a_cut_off_download_goes_on(server, tmp_path):
    """First an error that keeps what came; then only the rest is asked for."""
    server.cut_after = 1_000_000
    with pytest.raises(UserError, match='could not be fetched .*goes on from what has arrived'):
        fetch.fetch('weights', tmp_path)
    have = (tmp_path / 'sub' / 'w.caffemodel.part').stat().st_size
    assert 0 < have <= 1_000_000
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY
    assert server.asked[1:] == [('/good/w.caffemodel', f'bytes={have}-')]
    assert [path.name for path in (tmp_path / 'sub').iterdir()] == ['w.caffemodel']


DATE = 'Sun, 06 Nov 1994 08:49:37 GMT'


@pytest.mark.parametrize(('versions', 'asked'), [
    ({'ETag': '"a"', 'Last-Modified': DATE}, '"a"'), ({'ETag': 'W/"a"', 'Last-Modified': DATE}, DATE),
    ({'Last-Modified': DATE}, DATE), ({'ETag': 'W/"a"'}, None), ({}, None),
])  # fmt: skip
def test_it_goes_on_with_the_same_version_only(server, tmp_path, versions, asked):
    """The server is told which version the part is of; a weak tag will not do for that (RFC 9110, 13.1.5)."""
    server.versions, server.cut_after = versions, 1_000_000
    with pytest.raises(UserError):
        fetch.fetch('weights', tmp_path)
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY
    assert server.if_range == [None, asked] and server.asked[1][1]


def test_another_version_starts_over(server, tmp_path, monkeypatch):
    """The beginning of the old file and the end of the new one would be of the right size."""
    server.versions, server.cut_after = {'ETag': '"a"'}, 1_000_000
    with pytest.raises(UserError):
        fetch.fetch('weights', tmp_path)
    server.versions, server.body = {'ETag': '"b"'}, BODY[::-1]
    change_row(monkeypatch, sums=(('sha256', hashlib.sha256(BODY[::-1]).hexdigest()),))
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY[::-1]


@pytest.mark.parametrize('url', ['http://127.0.0.1:9/good/w.caffemodel', None])
def test_a_part_of_another_address_is_not_gone_on_with(server, tmp_path, url):
    """Nor one of which the address is not known."""
    leave_part(tmp_path, b'x' * 1000, url)
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY
    assert server.asked == [('/good/w.caffemodel', None)]


def test_a_server_without_ranges_starts_over(server, tmp_path):
    """Its whole answer replaces what was there, it is not appended."""
    leave_part(tmp_path, BODY[:1000], WEIGHTS['weights'].urls[0])
    server.ranges = False
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY


def test_a_part_that_is_all_there_is_taken(server, tmp_path):
    """Killed between the last byte and the renaming: the server has nothing to add."""
    leave_part(tmp_path, BODY, WEIGHTS['weights'].urls[0])
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY
    assert server.asked == [('/good/w.caffemodel', f'bytes={len(BODY)}-')]


def test_a_wrong_sum_is_kept_aside(server, tmp_path):
    """Never under the name that is used; the next call starts from nothing."""
    server.body = BODY[:-1] + bytes([BODY[-1] ^ 1])
    with pytest.raises(UserError, match='sha256 .* it should be .*not used'):
        fetch.fetch('weights', tmp_path)
    assert [path.name for path in (tmp_path / 'sub').iterdir()] == ['w.caffemodel.wrong']
    server.body = BODY
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY


@pytest.mark.parametrize('algorithm', ['sha1', 'md5'])
def test_every_sum_counts(server, tmp_path, monkeypatch, algorithm):
    """The right size and one wrong sum among right ones."""
    change_row(monkeypatch, sums=(('sha256', SHA256), (algorithm, '0' * 32)))
    with pytest.raises(UserError, match=f'{algorithm} {hashlib.new(algorithm, BODY).hexdigest()}, it should be 0000'):
        fetch.fetch('weights', tmp_path)


def test_without_a_known_sum_it_must_be_a_caffemodel(server, tmp_path, monkeypatch):
    """A web page under the name of the weights is not taken, nor a file smaller than its layers; whole weights are."""
    change_row(monkeypatch, size=None, sums=())
    server.body = b'<html>Gone</html>'
    with pytest.raises(UserError, match='not a caffemodel'):
        fetch.fetch('weights', tmp_path)
    caffemodel.write(tmp_path / 'whole', {'fc': [np.zeros(100)]})
    server.body = (tmp_path / 'whole').read_bytes()
    change_row(monkeypatch, min_size=len(server.body) + 1)
    with pytest.raises(UserError, match='its layers alone take'):
        fetch.fetch('weights', tmp_path)
    change_row(monkeypatch, min_size=400)
    assert fetch.fetch('weights', tmp_path).read_bytes() == server.body


def test_a_file_of_the_users_own_is_checked_and_left(server, tmp_path):
    """A wrong one is named, neither renamed nor fetched over."""
    path = tmp_path / 'sub' / 'w.caffemodel'
    path.parent.mkdir()
    path.write_bytes(b'mine')
    with pytest.raises(UserError, match='4 bytes, it should have 3,000,000; move it away'):
        fetch.fetch('weights', tmp_path)
    assert path.read_bytes() == b'mine' and not server.asked


def test_mirrors_come_first_then_the_publisher(server, tmp_path, monkeypatch):
    """A mirror without the file is passed over; with it, the publisher is not asked."""
    monkeypatch.setenv(fetch.MIRRORS, f'{server.url}/none {server.url}/good/')
    change_row(monkeypatch, urls=(f'{server.url}/publisher',))
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY
    assert [path for path, _ in server.asked] == ['/none/w.caffemodel', '/good/w.caffemodel']


@pytest.mark.parametrize('mirror', ['host/folder', '/host/folder', 'host:8000/folder'])
def test_a_mirror_without_a_scheme_is_refused(server, tmp_path, monkeypatch, mirror):
    monkeypatch.setenv(fetch.MIRRORS, f'{server.url}/good {mirror}')
    with pytest.raises(UserError, match=f'WEIGHTS_MIRRORS: {mirror} is not the address .* https://host'):
        fetch.fetch('weights', tmp_path)
    assert not server.asked


def test_a_dead_host_says_what_to_do(server, tmp_path, monkeypatch):
    """Every address with its answer, where to put a copy, and the variable for mirrors."""
    change_row(monkeypatch, urls=('http://127.0.0.1:9/w.caffemodel',), else_do='ask a neighbour')
    monkeypatch.setenv(fetch.MIRRORS, f'{server.url}/none')
    with pytest.raises(UserError) as caught:
        fetch.fetch('weights', tmp_path)
    said = str(caught.value)
    assert f'{server.url}/none/w.caffemodel: HTTP Error 404' in said and 'http://127.0.0.1:9/w.caffemodel: ' in said
    assert f'put a copy of your own at {tmp_path}/sub/w.caffemodel' in said and 'WEIGHTS_MIRRORS' in said
    assert said.endswith('that has w.caffemodel; ask a neighbour')


def test_the_next_address_is_tried_where_one_gives_nothing_or_another_file(server, tmp_path, monkeypatch):
    """Not there; a wrong file, which is kept aside; the right one. The last is not asked."""
    server.bodies['/good/wrong'] = b'<html>Gone</html>'
    places = ('none', 'good/wrong', 'good/w.caffemodel', 'good/last')
    change_row(monkeypatch, urls=tuple(f'{server.url}/{place}' for place in places))
    assert fetch.fetch('weights', tmp_path).read_bytes() == BODY
    assert [path for path, _ in server.asked] == [f'/{place}' for place in places[:3]]
    assert (tmp_path / 'sub' / 'w.caffemodel.wrong').read_bytes() == b'<html>Gone</html>'


def test_a_port_is_converted_where_the_owner_does_not_answer(server, tmp_path, monkeypatch, capsys):
    """A file of another network first, which is kept aside; then the network's own, in Keras's form."""
    layers = caffemodel.load(random_weights('front_toy', tmp_path / 'w.caffemodel'))
    for address, net_name in (('/good/other.h5', 'basic_toy'), ('/good/port.h5', 'front_toy')):
        as_theano(caffemodel.load(random_weights(net_name, tmp_path / 'w.caffemodel')), tmp_path / 'port.h5')
        server.bodies[address] = (tmp_path / 'port.h5').read_bytes()
    urls = tuple(f'{server.url}/{place}' for place in ('none', 'good/other.h5', 'good/port.h5'))
    monkeypatch.setitem(WEIGHTS, 'front_toy', replace(WEIGHTS['weights'], file='toy.caffemodel', urls=urls))
    path = fetch.fetch('front_toy', tmp_path)
    found = caffemodel.load(path)
    assert all((one == other).all() for name in layers for one, other in zip(found[name], layers[name], strict=True))
    assert f'converted from {urls[-1]}, of which no sum is known' in capsys.readouterr().err
    assert (tmp_path / 'toy.caffemodel.wrong').read_bytes() == server.bodies['/good/other.h5']
    server.asked.clear()
    assert fetch.fetch('front_toy', tmp_path) == path and not server.asked


def test_a_caffemodel_in_a_zip_archive(server, tmp_path, monkeypatch):
    """As DeepLab's authors have one, with what macOS adds. Checked as if it had come without; a damaged one is wrong."""
    caffemodel.write(tmp_path / 'whole', {'fc': [np.zeros(300)]})
    for address, held in (('/good/short.zip', b'short'), ('/good/w.zip', (tmp_path / 'whole').read_bytes())):
        with zipfile.ZipFile(tmp_path / 'w.zip', 'w', zipfile.ZIP_DEFLATED) as archive:
            archive.writestr('__MACOSX/._w.caffemodel', b'x')
            archive.writestr('w.caffemodel', held)
        server.bodies[address] = (tmp_path / 'w.zip').read_bytes()
    server.bodies['/good/cut.zip'] = server.bodies['/good/w.zip'][:200]
    urls = tuple(f'{server.url}/good/{name}.zip' for name in ('cut', 'short', 'w'))
    change_row(monkeypatch, urls=urls, size=None, min_size=1200, sums=())
    assert fetch.fetch('weights', tmp_path).read_bytes() == (tmp_path / 'whole').read_bytes()
    server.bodies['/good/w.zip'] = server.bodies['/good/short.zip']
    (tmp_path / 'sub' / 'w.caffemodel').unlink()
    with pytest.raises(
        UserError,
        match=r'cut.zip: .*damaged, or not an archive.*short.zip: 5 bytes, its layers alone '
        r'take 1,200',
    ):
        fetch.fetch('weights', tmp_path)


def test_what_is_made_is_not_fetched(tmp_path):
    """The message gives the command."""
    with pytest.raises(UserError, match='make weights-vgg16'):
        fetch.fetch('vgg16', tmp_path)


def test_command_prints_licence_and_an_unknown_sum(server, tmp_path, monkeypatch, capsys):
    """Names resolve as elsewhere; where no sum is published, the user sees the file's."""
    fetch.main(['weight', '--folder', str(tmp_path)])
    said = capsys.readouterr()
    assert '3,000,000 bytes, sha256 checked; licence: none' in said.out and 'warning' not in said.err
    caffemodel.write(tmp_path / 'whole', {'fc': [np.zeros(3)]})
    (tmp_path / 'sub' / 'w.caffemodel').write_bytes((tmp_path / 'whole').read_bytes())
    change_row(monkeypatch, size=None, sums=())
    fetch.main(['weights', '--folder', str(tmp_path)])
    said = capsys.readouterr()
    assert f'its sha256 is {hashlib.sha256((tmp_path / "whole").read_bytes()).hexdigest()}; ' in said.out
    path = tmp_path / 'sub' / 'w.caffemodel'
    assert said.err == f'warning: {path}: nobody publishes a sum of it, only its form was checked: a whole caffemodel\n'


def test_table_agrees_with_the_networks():
    """A released net's file has room for its parameters, and what stages start from has a row."""
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
    """One origin each, sums of the right length, a licence and a source."""
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
    """Training images, and none of those that they are scored on."""
    row = WEIGHTS[name]
    assert all(seen_in_training([row.file], data, split) is row for split in trained) and row.saw_by.startswith('paper ')
    assert not any(seen_in_training([row.file], data, split) for split in scored)


@pytest.mark.parametrize('name', [name for name, row in WEIGHTS.items() if row.saw])
def test_what_a_file_saw_has_a_source_and_splits_that_there_are(name):
    """A split with a typing error would never be warned of."""
    known = {(facts.name, split) for facts in DATASETS.values() for split in facts.splits} | {('pascal_voc', COCO_SPLIT)}
    assert WEIGHTS[name].saw_by and set(WEIGHTS[name].saw) <= known


def test_readme_has_the_table():
    """As `.venv/bin/python -m pretrained.weights` prints it."""
    assert f'\n\n{as_markdown()}\n' in (ROOT / 'pretrained' / 'README.md').read_text()
