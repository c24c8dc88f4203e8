"""A network with the dense CRF: its scores of val, the grid search of the CRF's parameters on them, and the test with the best.

.venv/bin/python -m tools.structured.recipe NET...

The commands are those that `make tables` names; the weights are the newest snapshot of a stage that trains NET, else
pretrained/<NET>.caffemodel. Results lie in out/test/<NET>-crf/ (of the authors' weights: out/released/). Stopped, the same
command goes on. Files that their authors trained on images of val are warned of: their scores there, and so the parameters
found on them, are not those of unseen images.
"""

import argparse
import shlex
from contextlib import suppress

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS
from tools.inference.networks import network
from tools.inference.weights import find_weights, warn_if_seen
from tools.recipe import Recipe
from tools.report.results import test_commands
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT
from tools.test import PAPER_SPLIT

TITLES = ('Scores of val', "Search of the CRF's parameters", 'Test with the best of them')


def follow(net: str) -> None:
    """The steps for one network."""
    recipe = Recipe(ROOT / 'out' / 'crf' / net / 'steps.json', f'delete out/crf/{net} and out/scores/{net}')
    commands = test_commands(net, PAPER_SPLIT.get(NETS[net].dataset, 'test'), 'crf')
    warn(net)
    for title, command in zip(TITLES, commands, strict=True):
        recipe.do(f'{title}: {net}', *shlex.split(command)[1:])


def check_val(net: str) -> None:
    """UserError for a data set without a val split: parameters chosen on test would make its score no measure."""
    facts = dataset(NETS[net].dataset)
    if facts.val != 'val':
        raise UserError(
            f'{net}: {facts.name} has no val split to search on, only {", ".join(facts.splits)}; take the parameters found for '
            f'another data set: tools/test.py --net {net} --crf out/crf/OTHER_NET/crf.json'
        )


def warn(net: str) -> None:
    """Say before the first step, which may be done already, if the weights saw val; what is missing, the step says."""
    with suppress(UserError):
        warn_if_seen(find_weights(net), NETS[net].dataset, 'val')


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('nets', nargs='+', metavar='NET', help='a network, as for tools/test.py')
    nets = [network(name) for name in parser.parse_args(argv).nets]
    for net in nets:
        check_val(net)
    for net in nets:
        follow(net)


if __name__ == '__main__':
    run_command(main)
