"""A pytest plugin for Caffe's own Python tests: names of `unittest` that Python 3.12 took away."""

from unittest import TestCase

OLD_NAMES = {'assertEquals': TestCase.assertEqual, 'assertRaisesRegexp': TestCase.assertRaisesRegex}

for name, method in OLD_NAMES.items():
    setattr(TestCase, name, method)
