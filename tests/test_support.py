"""Files and folders are whole or absent; errors are one line; compiled code, memory, and tables of text."""

import errno
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tools.support import native
from tools.support.atomic import whole_file, whole_folder
from tools.support.errors import UserError, run_command
from tools.support.hashing import file_sum
from tools.support.memory_use import Peak
from tools.support.paths import ROOT
from tools.support.text_tables import columns, markdown_table


def write_data(folder, text):
    (folder / 'data').write_text(text)


@pytest.mark.parametrize(('whole', 'write'), [(whole_file, Path.write_text), (whole_folder, write_data)])
def test_a_new_file_or_folder_replaces_the_old_one_or_leaves_it(tmp_path, whole, write):
    """Missing parents are made. If the block fails, the old content stays, and nothing is left beside it."""
    path = tmp_path / 'new' / 'a.txt'
    for text in ('one', 'two'):
        with whole(path) as temporary:
            write(temporary, text)
    with pytest.raises(RuntimeError), whole(path) as temporary:
        write(temporary, 'half')
        raise RuntimeError
    assert (path / 'data' if path.is_dir() else path).read_text() == 'two'
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_was_lost_between_two_renames_comes_back(tmp_path):
    """After a kill left the old folder aside, the next call restores it before it writes."""
    folder = tmp_path / 'lmdb'
    aside = tmp_path / '.lmdb.old'
    aside.mkdir()
    (aside / 'data').write_text('old')
    with pytest.raises(RuntimeError), whole_folder(folder):
        raise RuntimeError
    assert (folder / 'data').read_text() == 'old'


def test_a_folder_that_another_process_writes_is_refused(tmp_path):
    """The second process disturbs nothing. After a kill of the first, its part and its lock do not matter."""
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


@pytest.mark.parametrize(('raised', 'status', 'text'), [
    (UserError('no file x'), 1, 'error: no file x\n'),
    (KeyboardInterrupt('go on'), 130, 'interrupted; go on\n'),
    (KeyboardInterrupt(''), 130, 'interrupted\n'),
    (PermissionError(errno.EACCES, 'Permission denied', '/a/b'), 1, 'error: /a/b: Permission denied\n'),
    (OSError(errno.EXDEV, 'Invalid cross-device link', 'a', None, 'b'), 1, 'error: a -> b: Invalid cross-device link\n'),
    (OSError(errno.ENOSPC, 'No space left on device', 'a'), 1,
     'error: a: No space left on device; make room there and run the same command again\n'),
    (OSError(errno.EIO, 'Input/output error'), 1, 'error: Input/output error\n'),
    (OSError('no codec'), 1, 'error: no codec\n'),
], ids=repr)  # fmt: skip
def test_mistakes_are_one_line_and_a_status(raised, status, text, capsys):
    """After Ctrl-C the line may say how to go on; here it is the argument of KeyboardInterrupt."""

    def main(argv):
        raise raised

    with pytest.raises(SystemExit) as ended:
        run_command(main, after_stop=str(raised) if isinstance(raised, KeyboardInterrupt) else '')
    assert ended.value.code == status
    assert capsys.readouterr().err == text


@pytest.mark.parametrize(('word', 'meant'), [
    ('~/a b', '/home/me/a b'), ('--data=~/a', '--data=/home/me/a'), ('~', '/home/me'), ('a~/b', 'a~/b'),
    ('--pick=a=~/b', '--pick=a=~/b'), ('~root', '~root'),
])  # fmt: skip
def test_a_tilde_that_no_shell_expanded_is_the_home_folder(tmp_path, monkeypatch, word, meant):
    """At the beginning of a word or of an option's value; but a file with that name is itself."""
    monkeypatch.setenv('HOME', '/home/me')
    monkeypatch.chdir(tmp_path)
    (tmp_path / '~root').touch()
    monkeypatch.setattr(sys, 'argv', ['command', word])
    seen = []
    with pytest.raises(SystemExit):
        run_command(lambda argv: seen.extend(sys.argv[1:]))
    assert seen == [meant]


COMMAND = """
import sys
sys.path.insert(0, {root!r})
from tools.support.errors import run_command
run_command(lambda argv: {body})
"""


def test_names_in_other_encodings_are_printed_unchanged():
    """Files from other systems may have such names: this is ü in Latin-1."""
    command = [sys.executable, '-c', COMMAND.format(root=str(ROOT), body=r"print('M\udcfcller')")]
    finished = subprocess.run(command, capture_output=True, check=False)
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, b'M\xfcller\n', b'')


@pytest.mark.parametrize('body', ["print('x' * 10**6)", "print('x')"])
def test_a_reader_that_goes_away_is_no_error(body):
    """`command | head` closes the pipe before a line is written, at once or at the end."""
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


def test_without_a_compiler_there_is_no_compiled_code(monkeypatch, tmp_path, capsys):
    """A line says so; Python code does the work."""
    monkeypatch.setattr(native, 'VENV', tmp_path)
    monkeypatch.setenv('CC', 'false')
    assert native._library.__wrapped__(ROOT / 'tools' / 'inference' / 'zoom.c') is None
    assert 'zoom.c does not compile' in capsys.readouterr().err


def test_threads_share_compiled_code(monkeypatch, tmp_path):
    """Code that several threads want at once is compiled once."""
    monkeypatch.setattr(native, 'VENV', tmp_path)
    source = tmp_path / 'one.c'
    source.write_text('int one(void) { return 1; }\n')
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(native.library, [source] * 8))
    assert len(set(map(id, found))) == 1 and found[0].one() == 1


def test_the_peak_of_a_process_is_kept_after_it_frees_the_memory_and_ends():
    """It takes and frees 300 MB before the first look; the second look comes after its end."""
    program = 'import sys; len(bytearray(b"x" * 150_000_000)); print("freed", flush=True); sys.stdin.read()'
    with subprocess.Popen([sys.executable, '-c', program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b'freed\n'
        peak = Peak(child.pid)
        peak.look()
        child.communicate()
    peak.look()
    assert 300_000_000 < peak.bytes < 400_000_000


def test_columns_are_as_wide_as_their_widest_cell():
    """Two spaces are between columns, none at the end; names are flush left, numbers flush right."""
    rows = [('net', 'IoU %', 'seconds'), ('dilation8', '75.3', ''), ('front', '9.8', '12')]
    assert columns(rows, '<>') == ['net        IoU %  seconds', 'dilation8   75.3', 'front        9.8       12']
    assert columns([('a', 'bb', 'c'), ('aaa', 'b', 'cc')]) == ['a    bb  c', 'aaa  b   cc']


@pytest.mark.parametrize(('padded', 'lines'), [
    (False, ['| stage | made by |', '| --- | --- |', '| a | b \\| c |']),
    (True, ['| stage | made by |', '| ----- | ------- |', '| a     | b \\| c  |']),
])  # fmt: skip
def test_a_markdown_table_holds_any_cell(padded, lines):
    """A bar in a cell is escaped; padding aligns the bars."""
    assert markdown_table([('stage', 'made by'), ('a', 'b | c')], padded=padded) == lines
