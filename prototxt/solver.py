"""The SolverParameter of a stage."""

from prototxt.experiments import Stage
from tools.support.caffe_import import import_caffe

caffe_pb2 = import_caffe().proto.caffe_pb2


def solver(stage: Stage, net_path: str, snapshot_prefix: str, *, display: int = 20, gpu: bool = False):
    """SolverParameter of a stage, with the row's solver, rates, iterations and snapshots.

    Caffe averages the gradient over `iter_size` passes, so a split batch takes the same step as a whole one.
    """
    message = caffe_pb2.SolverParameter(
        net=net_path,
        type=stage.solver,
        base_lr=stage.base_lr,
        momentum=stage.momentum,
        weight_decay=stage.weight_decay,
        lr_policy='multistep' if stage.lr_steps else 'fixed',
        max_iter=stage.max_iter,
        iter_size=stage.iter_size,
        display=display,
        snapshot=stage.snapshot,
        snapshot_prefix=snapshot_prefix,
        solver_mode=caffe_pb2.SolverParameter.GPU if gpu else caffe_pb2.SolverParameter.CPU,
    )
    if stage.lr_steps:
        message.gamma = 0.1
        message.stepvalue.extend(stage.lr_steps)
    if stage.random_seed is not None:
        message.random_seed = stage.random_seed
    return message
