"""Ends with an error that says what to run, unless the Caffe in use is a CUDA build: python3 -m tools.caffe_build.cuda_in_use

Any Python from 3.11 on will do, as nothing may be built yet.
"""

from tools.support.caffe_in_use import manifest_in_use
from tools.support.errors import UserError, run_command


def main(argv: list[str] | None) -> None:
    """Raise UserError unless the Caffe in use can use GPUs; argv is not used."""
    if not manifest_in_use().get('cuda_arch'):
        raise UserError(
            'this needs a CUDA build of Caffe, which can be made without a GPU; run first: CUDA=1 CUDA_ARCH=90 make caffe '
            '(10 to 13 minutes on one core; without an nvcc it fetches the CUDA toolkit from PyPI); '
            'to go back afterwards: CUDA=0 make caffe'
        )


if __name__ == '__main__':
    run_command(main)
