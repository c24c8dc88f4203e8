"""What only the tests need, for `make test`: the Python packages of the extra `test`, and Debian's Chromium."""

import sys

from tools.caffe_build import environment, system
from tools.caffe_build.system import is_tried, os_release
from tools.support.atomic import whole_file
from tools.support.errors import run_command

STAMP = environment.VENV / '.test-requirements'
DEBIAN = ('chromium', 'chromium-driver')  # the browser that opens the reports


def main(argv: list[str] | None) -> None:
    """Install what is missing; argv is not used."""
    packages = environment.requirements('test')
    wanted = '\n'.join([environment.STAMP.read_text(encoding='utf-8'), *packages])
    if not STAMP.is_file() or STAMP.read_text(encoding='utf-8') != wanted:
        print('installing Python packages for the tests', file=sys.stderr, flush=True)
        command = [str(environment.PYTHON), '-m', 'pip', 'install', '--quiet', *packages]
        environment.run(command, 'pip could not install the packages for the tests')
        with whole_file(STAMP) as temporary:
            temporary.write_text(wanted, encoding='utf-8')
    if is_tried(os_release()):
        missing = system.missing_packages(DEBIAN)
        if missing:
            system.install(missing)


if __name__ == '__main__':
    run_command(main)
