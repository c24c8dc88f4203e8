"""Puts a finished build into `.venv`, or takes an existing Caffe into use there."""

import shutil
from pathlib import Path

from tools.caffe_build import cache, environment
from tools.caffe_build.variant import Variant
from tools.support.atomic import whole_folder
from tools.support.caffe_in_use import in_use
from tools.support.paths import VENV

PROGRAMS = ('caffe', 'convert_imageset', 'compute_image_mean')
MODULE_PATHS = 'dilation_toolkit_caffe'  # the .pth file that says which Caffe `import caffe` finds


def is_installed(variant: Variant, key: str) -> bool:
    """Whether `.venv` holds the build `key` whole and, unless the variant stays aside, has it in use."""
    folder = VENV / variant.folder
    return cache.is_whole(folder, key) and (not variant.in_use or in_use() == folder)


def install(entry: Path, variant: Variant) -> None:
    """Copy a finished build into `.venv`; its programs and module come into use, unless the variant stays aside."""
    with whole_folder(VENV / variant.folder) as folder:
        shutil.copytree(entry, folder, dirs_exist_ok=True)
    if variant.in_use:
        environment.write_paths(MODULE_PATHS, f'../../../{variant.folder}/python\n')
        for name in PROGRAMS:
            link(VENV / 'bin' / name, Path('..') / variant.folder / 'bin' / name)


def link(path: Path, target: Path) -> None:
    """Make `path` a symbolic link to `target`."""
    temporary = path.with_name(f'.{path.name}.part')
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(path)
