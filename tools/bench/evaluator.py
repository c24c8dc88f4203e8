"""Runs cityscapesScripts' evaluator on two folders, without instance scores: python evaluator.py PRED GT JSON"""

import json
import sys
from pathlib import Path

from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling as evaluation


def main() -> None:
    """Evaluate and write the mean IoU of the classes."""
    predictions, truths, out = map(Path, sys.argv[1:])
    names = sorted(path.name for path in truths.glob('*_gtFine_labelIds.png'))
    evaluation.args.quiet, evaluation.args.JSONOutput, evaluation.args.evalInstLevelScore = True, False, False
    results = evaluation.evaluateImgLists(
        [str(predictions / name.replace('_gtFine_labelIds', '')) for name in names],
        [str(truths / name) for name in names],
        evaluation.args,
    )
    out.write_text(json.dumps(results['averageScoreClasses']))


if __name__ == '__main__':
    main()
