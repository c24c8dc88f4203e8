"""TABLES.md: the two tables as Markdown."""

from collections.abc import Mapping
from pathlib import Path

from prototxt.experiments import BASIC, FYU, MORE_NETS, PAPER_NETS, SILENT, STAGES, DeepLab, Fcn, FrontEnd, Net, Stage
from tools.support.atomic import whole_file
from tools.support.text_tables import markdown_table

NET_HEAD = ('network', 'data set', 'tile', 'front end', 'context module')
STAGE_HEAD = ('stage', 'trains', 'after', 'starts from', 'crop', 'batch', 'rate', 'momentum', 'iterations', 'source')


def net_table(nets: Mapping[str, Net]) -> str:
    """A row for each network."""
    return _table(NET_HEAD, [(f'`{name}`', *rest) for name, *rest in (net_row(name, net) for name, net in nets.items())])


def stage_table() -> str:
    """A row for each training stage, after a line about what the paper never gives."""
    common = ', '.join(field for field, _ in SILENT)
    rows = [_stage_row(name, stage) for name, stage in STAGES.items()]
    return f'The paper gives nowhere: {common}. Its rows have those of {FYU}.\n\n' + _table(STAGE_HEAD, rows)


def as_markdown() -> str:
    """TABLES.md: all networks, then all stages."""
    return (
        '# The networks and the training stages\n\n'
        'Written by `make prototxt` from the tables in `experiments.py`.\n\n'
        f"## Networks of the paper's tables\n\nTheir files are in this folder.\n\n{net_table(PAPER_NETS)}\n"
        f'## More networks\n\n`make prototxt NET=NAME` writes their files.\n\n{net_table(MORE_NETS)}\n'
        f'## Stages\n\n{stage_table()}'
    )


def write_tables(path: Path) -> None:
    """Write TABLES.md, whole."""
    with whole_file(path) as temporary:
        temporary.write_text(as_markdown())


def net_row(name: str, net: Net) -> tuple[str, ...]:
    """A network's name, data set, tile, front end and context module."""
    widths = net.front_end
    front = f'{widths.trunk[0]}-{widths.trunk[-1]} channels, fc {widths.fc:,}{_kind(widths)}'
    tile = '{}x{}'.format(*net.input_size_hw) + (', whole images' if net.whole else '')
    data = net.dataset + (' at {}x{}'.format(*net.images_wh) if net.images_wh else '')
    return name, data, tile, front, _context(net)


def _kind(widths: FrontEnd | Fcn | DeepLab) -> str:
    """Which network stands in place of the front end, or what the front end has beside its widths."""
    match widths:
        case Fcn():
            return ', FCN: scores of ' + ' and '.join(['fc7', *(f'pool{group}' for group in widths.skips)])
        case DeepLab():
            return ', DeepLab' + ('-LargeFOV' if widths.large_fov else '') + (', multi-scale' if widths.multi_scale else '')
    parts = [part for part, on in (('pool4 and pool5 at stride 1', widths.pooling), ('padding', widths.padding)) if on]
    return f', with {" and ".join(parts)}' if parts else ''


def _context(net: Net) -> str:
    upsampling = ', upsampling by 8' if net.upsample else ''
    if net.context is None:
        return f'-{upsampling}'
    dilations = ' '.join(map(str, net.context.dilations))
    kind = 'Basic' if net.context.multiples == BASIC else 'Large'
    pads = {'each_layer': '', 'once': ', padded once', 'reflect': ', reflection'}
    return f'{kind}, {net.layers} layers, dilations {dilations}{pads[net.context.pad]}{upsampling}'


def _stage_row(name: str, stage: Stage) -> tuple[str, ...]:
    start = 'images' if stage.start == 'data' else f'stored `{stage.start}`'
    sources = [f'`{source}`' for source in stage.init]
    if stage.fresh:
        sources.append(f'random: {_few(stage)}')
    rates = [power(stage.base_lr / 10**i) for i in range(len(stage.lr_steps) + 1)]
    return (
        f'`{name}`', f'`{stage.net}`', start, '; '.join(sources), str(stage.crop_size or 'whole maps'), _batch(stage),
        ', '.join(rates), f'{stage.momentum:g}' + (f', {stage.solver}' if stage.solver != 'SGD' else ''), f'{stage.max_iter:,}',
        source_of(stage),
    )  # fmt: skip


def power(rate: float) -> str:
    """0.001 -> 1e-3, 0.000000025 -> 2.5e-8."""
    return f'{rate:.1e}'.replace('.0', '').replace('e-0', 'e-')


def _few(stage: Stage) -> str:
    """The layers that start from their fillers, or their number if there are many."""
    if len(stage.fresh) < 4:
        return ', '.join(stage.fresh)
    return f'{len(stage.fresh)} layers' if stage.init else 'all layers'


def source_of(stage: Stage) -> str:
    """The source of a stage and the fields that it leaves open: `paper 4; not given: crop, batch (fyu/dilation)`.

    Fields that the paper never gives (SILENT) stand once, above the table.
    """
    taken: dict[str, list[str]] = {}
    for field, source in (pair for pair in stage.assumed if pair not in SILENT):
        taken.setdefault(source, []).append(field)
    open_fields = ', '.join(f'{", ".join(fields)} ({source})' for source, fields in taken.items())
    return f'{stage.source}; not given: {open_fields}' if open_fields else stage.source


def _batch(stage: Stage) -> str:
    """The batch size, and how it is split into passes."""
    return str(stage.batch_size) if stage.iter_size == 1 else f'{stage.batch_size} = {stage.iter_size} x {stage.batch_per_pass}'


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return '\n'.join(markdown_table([head, *rows])) + '\n'
