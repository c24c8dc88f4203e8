"""Numbers printed in the paper (Yu & Koltun, ICLR 2016), in percent, to set beside ours."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PaperRow:
    """A row of results; `class_iou` is in the order of the data set's classes, None where the paper has no column."""

    table: str
    name: str
    dataset: str
    split: str
    class_iou: tuple[float | None, ...]
    mean_iou: float


def _camvid(name: str, *numbers: float) -> PaperRow:
    """Building, Tree, Sky, Car, Sign, Road, Pedestrian, Fence, Pole, Sidewalk, Bicyclist, then the mean."""
    return PaperRow('paper Table 5', name, 'camvid', 'test', numbers[:-1], numbers[-1])


def _voc(name: str, *numbers: float) -> PaperRow:
    """The 20 object classes, aeroplane to tvmonitor, then the mean; background counts in the mean but is not printed."""
    return PaperRow('paper Table 3', name, 'pascal_voc', 'val', (None, *numbers[:-1]), numbers[-1])


# fmt: off
TABLE_5 = {row.name: row for row in (
    _camvid('ALE', 73.4, 70.2, 91.1, 64.2, 24.4, 91.1, 29.1, 31.0, 13.6, 72.4, 28.6, 53.6),
    _camvid('SuperParsing', 70.4, 54.8, 83.5, 43.3, 25.4, 83.4, 11.6, 18.3, 5.2, 57.4, 8.9, 42.0),
    _camvid('Liu and He', 66.8, 66.6, 90.1, 62.9, 21.4, 85.8, 28.0, 17.8, 8.3, 63.5, 8.5, 47.2),
    _camvid('SegNet', 68.7, 52.0, 87.0, 58.5, 13.4, 86.2, 25.3, 17.9, 16.0, 60.5, 24.8, 46.4),
    _camvid('DeepLab-LFOV', 81.5, 74.6, 89.0, 82.2, 42.3, 92.2, 48.4, 27.2, 14.3, 75.4, 50.1, 61.6),
    _camvid('Dilation8', 82.6, 76.2, 89.9, 84.0, 46.9, 92.2, 56.3, 35.8, 23.4, 75.3, 55.5, 65.3),
)}

TABLE_3 = {row.name: row for row in (
    _voc('Front end', 86.3, 38.2, 76.8, 66.8, 63.2, 87.3, 78.7, 82.0, 33.7, 76.7,
         53.5, 73.7, 76.0, 76.6, 83.0, 51.9, 77.8, 44.0, 79.9, 66.3, 69.8),
    _voc('Front + Basic', 86.4, 37.6, 78.5, 66.3, 64.1, 89.9, 79.9, 84.9, 36.1, 79.4,
         55.8, 77.6, 81.6, 79.0, 83.1, 51.2, 81.3, 43.7, 82.3, 65.7, 71.3),
    _voc('Front + Large', 87.3, 39.2, 80.3, 65.6, 66.4, 90.2, 82.6, 85.8, 34.8, 81.9,
         51.7, 79.0, 84.1, 80.9, 83.2, 51.2, 83.2, 44.7, 83.4, 65.6, 72.1),
    _voc('Front end + CRF', 89.2, 38.8, 80.0, 69.8, 63.2, 88.8, 80.0, 85.2, 33.8, 80.6,
         55.5, 77.1, 80.8, 77.3, 84.3, 53.1, 80.4, 45.0, 80.7, 67.9, 71.6),
    _voc('Front + Basic + CRF', 89.1, 38.7, 81.4, 67.4, 65.0, 91.0, 81.0, 86.7, 37.5, 81.0,
         57.0, 79.6, 83.6, 79.9, 84.6, 52.7, 83.3, 44.3, 82.6, 67.2, 72.7),
    _voc('Front + Large + CRF', 89.6, 39.9, 82.7, 66.7, 67.5, 91.1, 83.3, 87.4, 36.0, 83.3,
         52.5, 80.7, 85.7, 81.8, 84.4, 52.6, 84.4, 45.3, 83.7, 66.7, 73.3),
    _voc('Front end + RNN', 88.8, 38.1, 80.8, 69.1, 65.6, 89.9, 79.6, 85.7, 36.3, 83.6,
         57.3, 77.9, 83.2, 77.0, 84.6, 54.7, 82.1, 46.9, 80.9, 66.7, 72.5),
    _voc('Front + Basic + RNN', 89.0, 38.4, 82.3, 67.9, 65.2, 91.5, 80.4, 87.2, 38.4, 82.1,
         57.7, 79.9, 85.0, 79.6, 84.5, 53.5, 84.0, 45.0, 82.8, 66.2, 73.1),
    _voc('Front + Large + RNN', 89.3, 39.2, 83.6, 67.2, 69.0, 92.1, 83.1, 88.0, 38.4, 84.8,
         55.3, 81.2, 86.7, 81.3, 84.3, 53.6, 84.4, 45.8, 83.8, 67.0, 73.9),
)}
# fmt: on

# The row to print beside a network of ours. The paper has no CamVid row for a front end alone.
ROW_OF = {
    'dilation8_camvid': TABLE_5['Dilation8'],
    'front_camvid': TABLE_5['Dilation8'],
    'front_camvid_fc128': TABLE_5['Dilation8'],
    'dilation8_camvid_fc128': TABLE_5['Dilation8'],
    'dilation8_pascal_voc': TABLE_3['Front + Large'],
}


def paper_row(net_name: str, split: str) -> PaperRow | None:
    """The paper's row for a network, if it has one for that split."""
    row = ROW_OF.get(net_name)
    return row if row and row.split == split else None
