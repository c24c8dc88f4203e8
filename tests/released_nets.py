"""The released deploy nets, layer by layer, as in fyu/dilation (models/*_deploy.prototxt).

Each layer has its name, then o num_output, k kernel, d dilation, p pad, s stride and g group if the file gives them.
"""

import re

FRONT_END = """
conv1_1 o64 k3 | relu1_1 | conv1_2 o64 k3 | relu1_2 | pool1 k2 s2
conv2_1 o128 k3 | relu2_1 | conv2_2 o128 k3 | relu2_2 | pool2 k2 s2
conv3_1 o256 k3 | relu3_1 | conv3_2 o256 k3 | relu3_2 | conv3_3 o256 k3 | relu3_3 | pool3 k2 s2
conv4_1 o512 k3 | relu4_1 | conv4_2 o512 k3 | relu4_2 | conv4_3 o512 k3 | relu4_3
conv5_1 o512 k3 d2 | relu5_1 | conv5_2 o512 k3 d2 | relu5_2 | conv5_3 o512 k3 d2 | relu5_3
fc6 o4096 k7 d4 | relu6 | drop6 | fc7 o4096 k1 | relu7 | drop7
"""

CAMVID = """
final o11 k1
ctx_conv1_1 o11 k3 p1 | ctx_relu1_1 | ctx_conv1_2 o11 k3 p1 | ctx_relu1_2 | ctx_conv2_1 o11 k3 d2 p2 | ctx_relu2_1
ctx_conv3_1 o11 k3 d4 p4 | ctx_relu3_1 | ctx_conv4_1 o11 k3 d8 p8 | ctx_relu4_1 | ctx_conv5_1 o11 k3 d16 p16 | ctx_relu5_1
ctx_fc1 o11 k3 p1 | ctx_fc1_relu | ctx_final o11 k1 | prob
"""

KITTI = """
final o11 k1
ctx_conv1_1 o11 k3 p1 | ctx_relu1_1 | ctx_conv1_2 o11 k3 p1 | ctx_relu1_2 | ctx_conv2_1 o11 k3 d2 p2 | ctx_relu2_1
ctx_conv3_1 o11 k3 d4 p4 | ctx_relu3_1 | ctx_conv4_1 o11 k3 d8 p8 | ctx_relu4_1
ctx_fc1 o11 k3 p1 | ctx_fc1_relu | ctx_final o11 k1 | prob
"""

CITYSCAPES = """
final o19 k1
ctx_conv1_1 o19 k3 p1 | ctx_relu1_1 | ctx_conv1_2 o19 k3 p1 | ctx_relu1_2 | ctx_conv2_1 o19 k3 d2 p2 | ctx_relu2_1
ctx_conv3_1 o19 k3 d4 p4 | ctx_relu3_1 | ctx_conv4_1 o19 k3 d8 p8 | ctx_relu4_1 | ctx_conv5_1 o19 k3 d16 p16 | ctx_relu5_1
ctx_conv6_1 o19 k3 d32 p32 | ctx_relu6_1 | ctx_conv7_1 o19 k3 d64 p64 | ctx_relu7_1
ctx_fc1 o19 k3 p1 | ctx_fc1_relu | ctx_final o19 k1 | ctx_upsample o19 k16 p4 s8 g19 | prob
"""

PASCAL_VOC = """
fc-final o21 k1
ct_conv1_1 o42 k3 p33 | ct_relu1_1 | ct_conv1_2 o42 k3 | ct_relu1_2 | ct_conv2_1 o84 k3 d2 | ct_relu2_1
ct_conv3_1 o168 k3 d4 | ct_relu3_1 | ct_conv4_1 o336 k3 d8 | ct_relu4_1 | ct_conv5_1 o672 k3 d16 | ct_relu5_1
ct_fc1 o672 k3 | ct_fc1_relu | ct_final o21 k1 | prob
"""

BASIC_VOC = """
fc-final o21 k1
ctx_conv1_1 o21 k3 p1 | ctx_relu1_1 | ctx_conv1_2 o21 k3 p1 | ctx_relu1_2 | ctx_conv2_1 o21 k3 d2 p2 | ctx_relu2_1
ctx_conv3_1 o21 k3 d4 p4 | ctx_relu3_1 | ctx_conv4_1 o21 k3 d8 p8 | ctx_relu4_1 | ctx_conv5_1 o21 k3 d16 p16 | ctx_relu5_1
ctx_fc1 o21 k3 p1 | ctx_fc1_relu | ctx_final o21 k1 | prob
"""

RELEASED = {
    'dilation8_pascal_voc': ((1, 3, 900, 900), FRONT_END + PASCAL_VOC),
    'dilation8_camvid': ((1, 3, 900, 1100), FRONT_END + CAMVID),
    'dilation7_kitti': ((1, 3, 852, 1640), FRONT_END + KITTI),
    'dilation10_cityscapes': ((1, 3, 1396, 1396), FRONT_END + CITYSCAPES),
}


# The nets that fyu/dilation's network.py builds for training (front end, front end with Basic), with Softmax as in deployment.
# It calls the scores of VOC `final`; here they are `fc-final`, as in the released VOC net.
BUILT = {
    'front_pascal_voc': ((1, 3, 900, 900), FRONT_END + 'fc-final o21 k1 | prob'),
    'front_camvid': ((1, 3, 900, 1100), FRONT_END + 'final o11 k1 | prob'),
    'front_kitti': ((1, 3, 852, 1640), FRONT_END + 'final o11 k1 | prob'),
    'front_cityscapes': ((1, 3, 1396, 1396), FRONT_END + 'final o19 k1 | prob'),
    'basic_pascal_voc_fyu': ((1, 3, 900, 900), FRONT_END + BASIC_VOC),
    # paper Sec. 5: only the module's input is padded, by 33
    'basic_pascal_voc': ((1, 3, 900, 900), FRONT_END + re.sub(r' p\d+', '', BASIC_VOC).replace('1_1 o21 k3', '1_1 o21 k3 p33')),
}


def layers(text: str) -> list[str]:
    """The lines of one of the texts above, one for each layer."""
    return [layer.strip() for line in text.strip().splitlines() for layer in line.split('|') if layer.strip()]


def as_line(layer) -> str:
    """A LayerParameter in the form of the texts above; fields at Caffe's defaults are left out."""
    conv, pool, fields = layer.convolution_param, layer.pooling_param, {}
    if layer.type in ('Convolution', 'Deconvolution'):
        fields = dict(o=conv.num_output, k=conv.kernel_size[0], d=[*conv.dilation, 1][0])
        fields |= dict(p=[*conv.pad, 0][0], s=[*conv.stride, 1][0], g=conv.group)
    elif layer.type == 'Pooling':
        fields = dict(k=pool.kernel_size, p=pool.pad, s=pool.stride)
    defaults = dict(d=1, p=0, s=1, g=1)
    return ' '.join([layer.name, *(f'{letter}{value}' for letter, value in fields.items() if defaults.get(letter) != value)])
