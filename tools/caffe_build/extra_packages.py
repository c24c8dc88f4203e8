"""The Python packages of an extra of pyproject.toml into `.venv`, unless they are there.

.venv/bin/python -m tools.caffe_build.extra_packages EXTRA
"""

import sys

from tools.caffe_build import environment
from tools.support.atomic import whole_file
from tools.support.errors import run_command


def main(argv: list[str] | None) -> None:
    """Install the extra that the command line names."""
    (extra,) = argv or sys.argv[1:]
    packages = environment.requirements(extra)
    stamp = environment.VENV / f'.{extra}-requirements'
    wanted = '\n'.join([environment.STAMP.read_text(encoding='utf-8'), *packages])
    if stamp.is_file() and stamp.read_text(encoding='utf-8') == wanted:
        return
    print(f'installing Python packages for {extra}', file=sys.stderr, flush=True)
    command = [str(environment.PYTHON), '-m', 'pip', 'install', '--quiet', *packages]
    environment.run(command, f'pip could not install the packages for {extra}')
    with whole_file(stamp) as temporary:
        temporary.write_text(wanted, encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
