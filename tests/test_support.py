"""Files and folders that are whole or not there; errors as one line; commands that find their own Python."""

import errno
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tools.support import native
from tools.support.atomic import whole_file, whole_folder
from tools.support.errors import UserError, run_command
from tools.support.hashing import file_sum
from tools.support.memory_use import Peak
from tools.support.paths import ROOT
from tools.support.text_tables import columns, markdown_table


def test_failed_write_leaves_the_old_file(tmp_path):
    """An error inside the block keeps what was there and leaves nothing beside it."""
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(RuntimeError), whole_file(path) as temporary:
        temporary.write_text('half')
        raise RuntimeError
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_whole_file_replaces(tmp_path):
    """The new file takes the old one's place; missing folders are made."""
    path = tmp_path / 'new' / 'a.txt'
    for text in ('one', 'two'):
        with whole_file(path) as temporary:
            temporary.write_text(text)
    assert path.read_text() == 'two'


def test_failed_folder_leaves_the_old_one(tmp_path):
    """As for files."""
    folder = tmp_path / 'lmdb'
    with whole_folder(folder) as temporary:
        (temporary / 'data').write_text('old')
    with pytest.raises(RuntimeError), whole_folder(folder) as temporary:
        (temporary / 'data').write_text('half')
        raise RuntimeError
    assert (folder / 'data').read_text() == 'old'
    assert list(tmp_path.iterdir()) == [folder]


def test_folder_lost_between_two_renames_comes_back(tmp_path):
    """A kill after the old folder was moved aside: the next call has it again before it writes."""
    folder = tmp_path / 'lmdb'
    aside = tmp_path / '.lmdb.old'
    aside.mkdir()
    (aside / 'data').write_text('old')
    with pytest.raises(RuntimeError), whole_folder(folder):
        raise RuntimeError
    assert (folder / 'data').read_text() == 'old'


def test_folder_that_another_process_writes_is_refused(tmp_path):
    """The second is refused and disturbs nothing; when the first is killed, its part and its lock are in nobody's way."""
    folder = tmp_path / 'lmdb'
    code = (
        f'import sys; from pathlib import Path; sys.path.insert(0, {str(ROOT)!r})\n'
        'from tools.support.atomic import whole_folder\n'
        f"with whole_folder(Path({str(folder)!r})) as part: (part / 'half').touch(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, '-c', code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        first.stdout.readline()
        with pytest.raises(UserError, match='lmdb is being written by another process; wait for it'), whole_folder(folder):
            pass
        assert (tmp_path / '.lmdb.part' / 'half').exists()
        first.kill()
    assert not folder.exists()
    with whole_folder(folder) as part:
        (part / 'data').touch()
    assert [path.name for path in tmp_path.iterdir()] == ['lmdb']
    assert [path.name for path in folder.iterdir()] == ['data']


@pytest.mark.parametrize(
    ('raised', 'status', 'text'),
    [
        (UserError('no file x'), 1, 'error: no file x\n'),
        (KeyboardInterrupt(), 130, 'interrupted\n'),
        (PermissionError(errno.EACCES, 'Permission denied', '/a/b'), 1, 'error: /a/b: Permission denied\n'),
        (OSError(errno.EXDEV, 'Invalid cross-device link', 'a', None, 'b'), 1, 'error: a -> b: Invalid cross-device link\n'),
        (
            OSError(errno.ENOSPC, 'No space left on device', 'a'),
            1,
            'error: a: No space left on device; make room there and run the same command again\n',
        ),
        (OSError(errno.EIO, 'Input/output error'), 1, 'error: Input/output error\n'),
        (OSError('no codec'), 1, 'error: no codec\n'),
    ],
    ids=repr,
)
def test_mistakes_are_one_line_and_a_status(raised, status, text, capsys):
    """A UserError, or a file that the system refuses, is one line and status 1; Ctrl-C is status 130; no traceback."""

    def main(argv):
        raise raised

    with pytest.raises(SystemExit) as ended:
        run_command(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == text


def test_a_stop_says_what_the_user_may_do(capsys):
    """Of a command that goes on."""

    def main(argv):
        raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        run_command(main, after_stop='the same command goes on')
    assert capsys.readouterr().err == 'interrupted; the same command goes on\n'


COMMAND = """
import sys
sys.path.insert(0, {root!r})
from tools.support.errors import run_command
run_command(lambda argv: {body})
"""


@pytest.mark.parametrize(
    ('word', 'meant'),
    [
        ('~/a b', '/home/me/a b'),
        ('--data=~/a', '--data=/home/me/a'),
        ('~', '/home/me'),
        ('a~/b', 'a~/b'),
        ('--pick=a=~/b', '--pick=a=~/b'),
        ('~x', '~x'),
    ],
)
def test_a_tilde_that_no_shell_expanded_is_the_home_folder(tmp_path, monkeypatch, word, meant):
    """At the beginning of a word or of an option's value, as a shell has it; a file of that name is itself."""
    monkeypatch.setenv('HOME', '/home/me')
    monkeypatch.chdir(tmp_path)
    (tmp_path / '~x').touch()
    monkeypatch.setattr(sys, 'argv', ['command', word])
    seen = []
    with pytest.raises(SystemExit):
        run_command(lambda argv: seen.extend(sys.argv[1:]))
    assert seen == [meant]


def test_names_that_are_no_utf8_come_out_as_they_are():
    """As those of files from other systems: ü in Latin-1."""
    command = [sys.executable, '-c', COMMAND.format(root=str(ROOT), body=r"print('M\udcfcller')")]
    finished = subprocess.run(command, capture_output=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, b'M\xfcller\n', b'')


@pytest.mark.parametrize('body', ["print('x' * 10**6)", "print('x')"])
def test_reader_that_goes_away_is_no_error(body):
    """As with `command | head`: the pipe is closed before the first line, which is written at once or at the end."""
    command = [sys.executable, '-c', COMMAND.format(root=str(ROOT), body=body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b''
    assert process.returncode == 1


def test_sum_of_a_file(tmp_path):
    """SHA-256 and MD5 of "abc", as in FIPS 180-2 and RFC 1321."""
    path = tmp_path / 'a'
    path.write_bytes(b'abc')
    assert file_sum(path) == 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'
    assert file_sum(path, 'md5') == '900150983cd24fb0d6963f7d28e17f72'


def system_python():
    """A Python other than the project's own."""
    return shutil.which('python3', path='/usr/bin:/usr/local/bin') or sys.executable


@pytest.mark.parametrize(
    ('name', 'option'), [('predict', '--weights'), ('extract_features', '--weights'), ('browse_lmdb', '--ids')]
)
def test_command_finds_the_projects_python_from_any_folder(tmp_path, name, option):
    """Run by the system's Python in another folder, a command that needs Caffe works."""
    command = [system_python(), str(ROOT / 'tools' / f'{name}.py'), '--help']
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert option in finished.stdout


def test_command_without_a_venv_says_what_to_run(tmp_path):
    """In a checkout before `make caffe`, the word is one line."""
    for name in ('tools', 'prototxt'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    command = [system_python(), str(tmp_path / 'tools' / 'predict.py'), '--help']
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == f'error: no {tmp_path / ".venv"}; run: make caffe\n'


def test_without_a_compiler_there_is_no_compiled_code(monkeypatch, tmp_path, capsys):
    """And it is said: what it does is done otherwise."""
    monkeypatch.setattr(native, 'VENV', tmp_path)
    monkeypatch.setenv('CC', 'false')
    assert native._library.__wrapped__(ROOT / 'tools' / 'inference' / 'zoom.c') is None
    assert 'zoom.c does not compile' in capsys.readouterr().err


def test_threads_that_want_compiled_code_at_once_all_get_it(monkeypatch, tmp_path):
    """It is compiled once."""
    monkeypatch.setattr(native, 'VENV', tmp_path)
    source = tmp_path / 'one.c'
    source.write_text('int one(void) { return 1; }\n')
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(native.library, [source] * 8))
    assert len(set(map(id, found))) == 1 and found[0].one() == 1


def test_peak_of_a_process_stays_when_the_memory_is_given_back_and_after_its_end():
    """300 MB, taken and freed before the first look; a second look comes too late to see anything."""
    program = 'import sys; len(bytearray(b"x" * 150_000_000)); print("freed", flush=True); sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b'freed\n'
        peak = Peak(child.pid)
        peak.look()
        child.communicate()
    peak.look()
    assert 300_000_000 < peak.bytes < 400_000_000


def test_columns_are_as_wide_as_their_widest_cell():
    """Two spaces between columns, names to the left and numbers to the right, no blanks at the end."""
    rows = [('net', 'IoU %', 'seconds'), ('dilation8', '75.3', ''), ('front', '9.8', '12')]
    assert columns(rows, '<>') == ['net        IoU %  seconds', 'dilation8   75.3', 'front        9.8       12']
    assert columns([('a', 'bb', 'c'), ('aaa', 'b', 'cc')]) == ['a    bb  c', 'aaa  b   cc']


@pytest.mark.parametrize(('padded', 'lines'), [
    (False, ['| stage | made by |', '| --- | --- |', '| a | b \\| c |']),
    (True, ['| stage | made by |', '| ----- | ------- |', '| a     | b \\| c  |']),
])  # fmt: skip
def test_a_markdown_table_holds_any_cell(padded, lines):
    """A bar in a cell does not end it; padded, the bars stand below each other."""
    assert markdown_table([('stage', 'made by'), ('a', 'b | c')], padded=padded) == lines
