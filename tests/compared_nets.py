"""The networks of Table 2, typed from their authors' files: facts to compare with. A line is as in tests/released_nets.py.

FCN: shelhamer/fcn.berkeleyvision.org, voc-fcn{32,16,8}s/net.py and train.prototxt, voc-fcn8s-atonce/net.py.
CRF-RNN: martinkersner/train-CRF-RNN, TVG_CRFRNN_COCO_VOC_TEST_3_CLASSES.prototxt, which is the authors' net except for -ft after
names and 4 classes; names, biases and crops of all 21 classes also in sadeepj/crfasrnn_keras, crfrnn_model.py.
DeepLab and DeepLab-MSc: TheLegendAli/DeepLab-Context at bd4aac5, config/DeepLab{,-MSc}/{train,test}.prototxt.
DeepLab-LargeFOV: martinkersner/train-DeepLab, DeepLab-LargeFOV/{train,test}.prototxt.
DeepLab-MSc-LargeFOV: TheLegendAli/DeepLab-Context, config/DeepLab-MSc-LargeFOV.
After `>` stand the blobs that a layer takes, unless it takes the one before it.
"""

import re

from tests.released_nets import as_line, layers

FCN_TRUNK = """
conv1_1 o64 k3 p100 | relu1_1 | conv1_2 o64 k3 p1 | relu1_2 | pool1 k2 s2
conv2_1 o128 k3 p1 | relu2_1 | conv2_2 o128 k3 p1 | relu2_2 | pool2 k2 s2
conv3_1 o256 k3 p1 | relu3_1 | conv3_2 o256 k3 p1 | relu3_2 | conv3_3 o256 k3 p1 | relu3_3 | pool3 k2 s2
conv4_1 o512 k3 p1 | relu4_1 | conv4_2 o512 k3 p1 | relu4_2 | conv4_3 o512 k3 p1 | relu4_3 | pool4 k2 s2
conv5_1 o512 k3 p1 | relu5_1 | conv5_2 o512 k3 p1 | relu5_2 | conv5_3 o512 k3 p1 | relu5_3 | pool5 k2 s2
fc6 o4096 k7 | relu6 | drop6 | fc7 o4096 k1 | relu7 | drop7 | score_fr o21 k1
"""
POOL4 = (
    'upscore2 o21 k4 s2 | score_pool4 o21 k1 > pool4 | score_pool4c > score_pool4 upscore2 | fuse_pool4 > upscore2 score_pool4c\n'
)
POOL3 = """
upscore_pool4 o21 k4 s2
score_pool3 o21 k1 > pool3 | score_pool3c > score_pool3 upscore_pool4 | fuse_pool3 > upscore_pool4 score_pool3c
"""

AT_ONCE = POOL4.replace('score_pool4 o21 k1 > pool4', 'scale_pool4 > pool4 | score_pool4 o21 k1') + POOL3.replace(
    'score_pool3 o21 k1 > pool3', 'scale_pool3 > pool3 | score_pool3 o21 k1'
)
CRFRNN = """
score2 o21 k4 s2 | score-pool4 o21 k1 > pool4 | score_pool4c > score-pool4 score2 | fuse_pool4 > score2 score_pool4c
score4 o21 k4 s2 | score-pool3 o21 k1 > pool3 | score_pool3c > score-pool3 score4 | fuse_pool3 > score4 score_pool3c
upsample o21 k16 s8 | score > upsample data | inference1 > score data | prob
"""

DEEPLAB_TRUNK = """
conv1_1 o64 k3 p1 | relu1_1 | conv1_2 o64 k3 p1 | relu1_2 | pool1 k2 p1 s2
conv2_1 o128 k3 p1 | relu2_1 | conv2_2 o128 k3 p1 | relu2_2 | pool2 k2 p1 s2
conv3_1 o256 k3 p1 | relu3_1 | conv3_2 o256 k3 p1 | relu3_2 | conv3_3 o256 k3 p1 | relu3_3 | pool3 k2 p1 s2
conv4_1 o512 k3 p1 | relu4_1 | conv4_2 o512 k3 p1 | relu4_2 | conv4_3 o512 k3 p1 | relu4_3 | pool4 k2 p1
conv5_1 o512 k3 d2 p2 | relu5_1 | conv5_2 o512 k3 d2 p2 | relu5_2 | conv5_3 o512 k3 d2 p2 | relu5_3 | pool5 k3 p1
"""
MSC_TRUNK = re.sub(r'(pool[1234]) k2', r'\1 k3', DEEPLAB_TRUNK)
FC = 'fc6 o4096 k4 d4 p6 | relu6 | drop6 | fc7 o4096 k1 | relu7 | drop7 | fc8_pascal o21 k1\n'
LARGEFOV = MSC_TRUNK + 'pool5a k3 p1 | fc6 o1024 k3 d12 p12 | relu6 | drop6 | fc7 o1024 k1 | relu7 | drop7 | fc8_voc12 o21 k1\n'
TRAINED_DEEPLAB = DEEPLAB_TRUNK.replace('pool4 k2 p1', 'pool4 k2') + FC


def _branch(blob: str, stride: int) -> str:
    step = f' s{stride}' if stride > 1 else ''
    conv = f'{blob}_conv o128 k3 p1{step} > {blob} | relu_{blob}_conv | drop_{blob}_conv'
    return f'{conv} | {blob}_fc o128 k1 | relu_{blob}_fc | drop_{blob}_fc | {blob}_ms o21 k1\n'


def _interp(blob: str, scores: str, zoom: int) -> str:
    """A Deconvolution that replaces Interp with zoom_factor `zoom`."""
    return f'{blob}_interp o21 k{2 * zoom - 1} p{zoom - 1} s{zoom} g21 > {scores}\n'


TRAINED_BRANCHES = ''.join(_branch(*row) for row in (('data', 8), ('pool1', 4), ('pool2', 2), ('pool3', 1), ('pool4', 1)))
TRAINED_FUSION = 'fc_fusion > data_ms pool1_ms pool2_ms pool3_ms pool4_ms {}\n'
BRANCHES = ''.join(_branch(blob, 1) for blob in ('data', 'pool1', 'pool2', 'pool3', 'pool4'))
INTERPS = ''.join(_interp(f'pool{i}', f'pool{i}_ms', zoom) for i, zoom in ((1, 2), (2, 4), (3, 8), (4, 8)))
INTERP = _interp('fc8', 'fc8_voc12', 8)
PASCAL_INTERP = _interp('fc8', 'fc8_pascal', 8)
FUSION = 'fc_fusion > data_ms pool1_interp pool2_interp pool3_interp pool4_interp fc8_interp\n'

COMPARED = {
    'fcn32s_pascal_voc': FCN_TRUNK + 'upscore o21 k64 s32 | score > upscore data | prob',
    'fcn16s_pascal_voc': FCN_TRUNK + POOL4 + 'upscore16 o21 k32 s16 | score > upscore16 data | prob',
    'fcn8s_pascal_voc': FCN_TRUNK + POOL4 + POOL3 + 'upscore8 o21 k16 s8 | score > upscore8 data | prob',
    'fcn8s_pascal_voc_at_once': FCN_TRUNK + AT_ONCE + 'upscore8 o21 k16 s8 | score > upscore8 data | prob',
    'fcn8s_pascal_voc_crfrnn': FCN_TRUNK.replace('score_fr', 'score-fr') + CRFRNN,
    'deeplab_pascal_voc': DEEPLAB_TRUNK + FC + PASCAL_INTERP.replace(' > fc8_pascal', '') + 'fc8_crop > fc8_interp data | prob',
    'deeplab_msc_pascal_voc': MSC_TRUNK + FC + BRANCHES + INTERPS + PASCAL_INTERP + FUSION + 'prob',
    'deeplab_largefov_pascal_voc': LARGEFOV + INTERP.replace(' > fc8_voc12', '') + 'prob',
    'deeplab_msc_largefov_pascal_voc': LARGEFOV + BRANCHES + INTERPS + INTERP + FUSION + 'prob',
}


def lines_of(message) -> list[str]:
    """The layers of a NetParameter after its first one, in the form of the texts above."""
    lines, top = [], 'data'
    for layer in message.layer[1:]:
        lines.append(as_line(layer) + ('' if list(layer.bottom) == [top] else ' > ' + ' '.join(layer.bottom)))
        top = layer.top[0]
    return lines


def learned_shapes(text: str) -> dict[str, list[tuple[int, ...]]]:
    """Layer -> shapes of weights and bias, from one of the texts above: what a caffemodel of that net holds.

    Only the layers that upsample have no bias, except score2 of CRF-RNN. Fixed interpolation (interp) is left out.
    """
    shapes, channels, top = {}, {'data': 3}, 'data'
    for line in layers(text):
        own, _, taken = line.partition(' > ')
        name, *words = own.split()
        fields = {word[0]: int(word[1:]) for word in words}
        into = channels[(taken.split() or [top])[0]]
        top, channels[name] = name, fields.get('o', into)
        if name == 'inference1':
            shapes[name] = [(1, 1, into, into)] * 3
        elif 'o' in fields and not name.endswith('_interp'):
            upsamples = re.match(r'upscore|upsample|score[24]$', name)
            weights = (into, fields['o']) if upsamples else (fields['o'], into)
            bias = [] if upsamples and name != 'score2' else [(fields['o'],)]
            shapes[name] = [(*weights, fields['k'], fields['k']), *bias]
    return shapes
