"""Installs the Python packages of an extra of pyproject.toml: `python -m tools.caffe_build.extra_packages [EXTRA [PACKAGE ...]]`.

The default is `test`, which `make test` needs; with it comes Debian's Chromium. With package names, only those are installed.
"""

import re
import sys
from collections.abc import Sequence

from tools.caffe_build import environment, system
from tools.caffe_build.system import is_tried, os_release
from tools.support.atomic import whole_file
from tools.support.errors import run_command

DEBIAN = {'test': ('chromium', 'chromium-driver')}  # the browser that opens the reports


def main(argv: list[str] | None) -> None:
    """Install what is missing."""
    extra, *names = argv or sys.argv[1:] or ['test']
    install(extra, names or None)
    missing = system.missing_packages(DEBIAN.get(extra, ())) if is_tried(os_release()) else []
    if missing:
        system.install(missing)


def install(extra: str, names: Sequence[str] | None = None) -> None:
    """Install the Python packages of an extra, or only those in `names`. Does nothing if they are installed."""
    packages = [line for line in environment.requirements(extra) if names is None or re.split(r'[^\w.-]', line)[0] in names]
    if not packages:
        return
    stamp = environment.VENV / '-'.join(['.requirements', extra, *sorted(names or ())])
    wanted = '\n'.join([environment.STAMP.read_text(encoding='utf-8'), *packages])
    if not stamp.is_file() or stamp.read_text(encoding='utf-8') != wanted:
        print(f'installing {", ".join(names or ()) or f"the Python packages of the extra {extra}"}', file=sys.stderr, flush=True)
        command = [str(environment.PYTHON), '-m', 'pip', 'install', '--quiet', *packages]
        environment.run(command, f'pip could not install the packages of the extra {extra}')
        with whole_file(stamp) as temporary:
            temporary.write_text(wanted, encoding='utf-8')


if __name__ == '__main__':
    run_command(main)
