"""Event files for TensorBoard: loss, learning rate and mean IoU. Needs the package tensorboardX."""

from pathlib import Path

from tools.support.errors import UserError
from tools.training.caffe_log import LogRow
from tools.training.scores import Score

FOLDER = 'tensorboard'


class Events:
    """Writes RUN/tensorboard/ from iteration `start` on. TensorBoard drops earlier values of these iterations."""

    def __init__(self, run_dir: Path | None, start: int) -> None:
        """Without a folder nothing is written. Raises UserError if tensorboardX is not installed."""
        self._writer = self._open(run_dir / FOLDER, start) if run_dir else None
        self._scored = -1

    def add(self, row: LogRow) -> None:
        """Add loss and learning rate of an iteration."""
        if self._writer:
            self._writer.add_scalar('loss', row.loss, row.iteration)
            self._writer.add_scalar('learning rate', row.lr, row.iteration)

    def add_scores(self, scores: list[Score]) -> None:
        """Add the scores that are new."""
        for score in scores:
            if self._writer and score.iteration > self._scored:
                self._writer.add_scalar('mean IoU', score.mean_iou, score.iteration)
                self._scored = score.iteration

    def close(self) -> None:
        """Write everything to the file."""
        if self._writer:
            self._writer.close()

    @staticmethod
    def _open(folder: Path, start: int):
        check_tensorboard()
        from tensorboardX import SummaryWriter

        return SummaryWriter(str(folder), purge_step=start)


def check_tensorboard() -> None:
    """Raise UserError if tensorboardX is not installed."""
    try:
        import tensorboardX  # noqa: F401
    except ImportError as error:
        raise UserError("--tensorboard needs tensorboardX; run: .venv/bin/pip install 'tensorboardX>=2.6,<3'") from error
