"""For targets that want the CUDA build in use: an error that says how to have it, where it is not.

.venv/bin/python -m tools.caffe_build.cuda_in_use; any Python 3.11 does, as nothing may be built yet.
"""

from tools.support.caffe_in_use import manifest_in_use
from tools.support.errors import UserError, run_command


def main(argv: list[str] | None) -> None:
    """Raise UserError unless the Caffe in use can use GPUs; argv is not used."""
    if not manifest_in_use().get('cuda_arch'):
        raise UserError(
            'this needs the CUDA build of Caffe in use, for which no GPU is needed; run first: CUDA=1 CUDA_ARCH=90 make caffe '
            '(10 to 13 minutes of a core; fetches the CUDA toolkit from PyPI where there is no nvcc), and afterwards, '
            'to go back: CUDA=0 make caffe'
        )


if __name__ == '__main__':
    run_command(main)
