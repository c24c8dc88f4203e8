"""SolverParameters of the stages."""

from prototxt.experiments import STAGES
from tools.support.caffe_import import import_caffe

caffe_pb2 = import_caffe().proto.caffe_pb2


def solver(
    stage_name: str,
    net_path: str,
    snapshot_prefix: str,
    *,
    max_iter: int | None = None,
    iter_size: int | None = None,
    snapshot: int | None = None,
    display: int = 20,
    gpu: bool = False,
):
    """SolverParameter of a stage: SGD, the row's rates; the given values replace the row's.

    Caffe averages the gradient over `iter_size` passes, so a split batch takes the same step as a whole one.
    """
    stage = STAGES[stage_name]
    message = caffe_pb2.SolverParameter(
        net=net_path,
        type='SGD',
        base_lr=stage.base_lr,
        momentum=stage.momentum,
        weight_decay=stage.weight_decay,
        lr_policy='multistep' if stage.lr_steps else 'fixed',
        max_iter=max_iter or stage.max_iter,
        iter_size=iter_size or stage.iter_size,
        display=display,
        snapshot=snapshot or stage.snapshot,
        snapshot_prefix=snapshot_prefix,
        solver_mode=caffe_pb2.SolverParameter.GPU if gpu else caffe_pb2.SolverParameter.CPU,
    )
    if stage.lr_steps:
        message.gamma = 0.1
        message.stepvalue.extend(stage.lr_steps)
    if stage.random_seed is not None:
        message.random_seed = stage.random_seed
    return message
