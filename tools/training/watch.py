"""Judges a training by its loss, and names likely causes if it goes badly."""

import math
from collections import deque

from prototxt.experiments import STAGES
from tools.training.caffe_log import WORST_LOSS, WORST_LOSS_WEIGHTED, LogRow
from tools.training.class_weights import ClassWeights
from tools.training.settings import Settings

WARM_UP = 100  # first iterations, which may have any finite loss
WINDOW = 50  # after them, the mean loss of this many iterations is checked
TOO_MUCH = 3.0  # times ln C, which is the loss of a uniform guess


class Watch:
    """Checks the rows of a run one after the other, over all sessions."""

    def __init__(self, settings: Settings, class_weights: ClassWeights | None = None) -> None:
        self._settings = settings
        self._scale = settings.pixels_summed * (class_weights.mean if class_weights else 1)
        self._uniform = self._scale * math.log(settings.dataset.num_classes)  # the loss of a uniform guess
        self.worst = self._scale * (WORST_LOSS_WEIGHTED if class_weights else WORST_LOSS)  # the most that Caffe can report
        self._limit = settings.options.max_loss or TOO_MUCH * self._uniform
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._first: float | None = None
        self.good = -1  # the last iteration at which all was well

    def fault(self, row: LogRow) -> str | None:
        """What is wrong after `row`, in words; None if nothing is."""
        self._first = row.loss if self._first is None else self._first
        if row.iteration >= WARM_UP:
            self._recent.append(row.loss)
        if not row.finite:
            return f'the loss is {row.loss} at iteration {row.iteration}'
        mean = sum(self._recent) / len(self._recent) if self._recent else row.loss
        if len(self._recent) == WINDOW and mean > self._limit:
            times = '' if self._scale == 1 else f'{self._scale:.6g} x '
            return (
                f'the loss has been {mean:.3g} on average for {WINDOW} iterations up to {row.iteration}, '
                f'{times}ln {self._settings.dataset.num_classes} is {self._uniform:.3g}'
            )
        if row.sound(self.worst) and mean <= self._limit:
            self.good = row.iteration
        return None

    def causes(self) -> str:
        """Likely causes, most likely first. A loss that was too large from the start does not come from the learning rate."""
        settings = self._settings
        row = STAGES[settings.stage_name]
        own = '' if settings.stage.base_lr == row.base_lr else f", the row's is {row.base_lr:g}"
        rate = f'the learning rate {settings.stage.base_lr:g} is too large{own} (--base-lr)'
        labels = f'labels that do not belong to their images (look at {settings.lmdb})'
        start = f'initial weights that do not fit ({", ".join(map(str, settings.weights or settings.stage.init)) or "fillers"})'
        began_well = self._first is not None and self._first <= 1.5 * self._uniform
        ordered = (rate, labels, start) if began_well else (start, labels, rate)
        began = '' if self._first is None else f'it began with {self._first:.3g}; '
        return f'{began}likely causes: {"; ".join(ordered)}'
