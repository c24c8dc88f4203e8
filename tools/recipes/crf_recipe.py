"""Refines a network by the dense CRF: scores val, searches the CRF's parameters on it, and tests with the best ones.

.venv/bin/python -m tools.recipes.crf_recipe NET...

The commands are the ones that `make tables` prints. All steps use the same weights: the newest snapshot of a stage that trains
NET, else pretrained/<NET>.caffemodel. Results go to out/test/<NET>-crf/, scores to out/scores/<NET>/ and the search to
out/crf/<NET>/. With the authors' weights they go to out/released/<NET>-crf/, out/scores/<NET>-released/ and
out/crf/<NET>-released/. If you stop it, the same command goes on.

Some authors trained their weights on images of val. The recipe then warns: the scores on val, and the parameters found there,
are too good.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS
from tools.inference.net_choice import network
from tools.inference.origin import RELEASED, origin_of_all
from tools.inference.weights_choice import find_weights, warn_if_seen
from tools.recipes.steps import Steps
from tools.report.results import crf_folder, test_commands
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT

TITLES = ('Scores of val', "Search of the CRF's parameters", 'Test with the best of them')


def follow(net: str, weights: Sequence[Path]) -> None:
    """The steps for one network with its weights."""
    released = origin_of_all(weights).kind == RELEASED
    kept = crf_folder(net, released)
    commands = test_commands(net, split_to_test(net), list(map(as_typed, weights)), crf=True, released=released)
    steps = Steps(ROOT / 'out' / 'crf' / kept / 'steps.json', f'delete out/crf/{kept} and out/scores/{kept}')
    warn_if_seen(weights, NETS[net].dataset, 'val')  # here, as the first step may be finished already and would not warn
    for title, command in zip(TITLES, commands, strict=True):
        steps.do(f'{title}: {net}', *command[1:])


def split_to_test(net: str) -> str:
    """The split of the paper's tables, else test; val, said on stderr, if there is no test split."""
    facts = dataset(NETS[net].dataset)
    if facts.test in facts.splits:
        return facts.test
    print(
        f"{net}: {facts.name} has no {facts.test} split: val is tested, on which the CRF's parameters were chosen",
        file=sys.stderr,
    )
    return 'val'


def as_typed(path: Path) -> str:
    """A path as a person types it in the checkout."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def check_val(net: str) -> None:
    """Raise UserError for a data set without a val split: parameters must not be chosen on test."""
    facts = dataset(NETS[net].dataset)
    if 'val' not in facts.splits:
        raise UserError(
            f'{net}: {facts.name} has no val split to search on, only {", ".join(facts.splits)}; take the parameters found for '
            f'another data set: tools/test.py --net {net} --crf out/crf/OTHER_NET/crf.json'
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('nets', nargs='+', metavar='NET', help='a network, as for tools/test.py')
    nets = [network(name) for name in parser.parse_args(argv).nets]
    for net in nets:
        check_val(net)
    weights = [find_weights(net) for net in nets]  # before hours of work for the first network
    for net, files in zip(nets, weights, strict=True):
        follow(net, files)


if __name__ == '__main__':
    run_command(main)
