"""Reads a benchmark server's answer: a small file in percent, typed by hand."""

SERVER_SCORES = 'server_scores.json'  # in the folder of the label maps


def fractions(answer: dict, names: set[str]) -> dict:
    """A server's answer as fractions. Raises ValueError for a name not in `names` and for a value that is no percentage."""
    if not isinstance(answer, dict) or 'mean_iou' not in answer:
        raise ValueError('it must be an object with a mean_iou')
    made: dict = {'class_iou': {}}
    for key, value in answer.items():
        if key in ('class_iou', 'category_iou'):
            if not isinstance(value, dict):
                raise ValueError(f'{key} must be an object of names and numbers')
            if not names >= value.keys():
                raise ValueError(f'no class or category: {", ".join(value.keys() - names)}')
            made[key] = {name: _fraction(part) for name, part in value.items()}
        elif key in ('mean_iou', 'mean_category_iou'):
            made[key] = _fraction(value)
        else:
            raise ValueError(f'no such entry: {key}')
    if 0 < made['mean_iou'] <= 0.01:
        raise ValueError(f'mean_iou {answer["mean_iou"]} must be in percent')
    return made


def _fraction(value: float) -> float:
    """A number in percent as a fraction. Raises ValueError for other values."""
    if not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise ValueError(f'{value!r} is not a number between 0 and 100')
    return value / 100
