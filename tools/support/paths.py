"""Paths in a checkout."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / 'data'  # LMDBs, one folder a data set; not under version control
RUNS = ROOT / 'runs'  # one folder a training run; not under version control
PRETRAINED = ROOT / 'pretrained'  # the package, and the weight files that it fetches or converts
PROTOTXT = ROOT / 'prototxt'
VENV = ROOT / '.venv'
CAFFE = VENV / 'bin' / 'caffe'  # the program `caffe`
