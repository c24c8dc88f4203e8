"""The edits made to Caffe's source before it is compiled: exact old text, new text, and why.

Each old text must occur exactly once in its file; if it does not, the archive is not the one these edits were made for.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tools.support.errors import UserError


@dataclass(frozen=True)
class Edit:
    """Replace `old` by `new` in the file `path` of the unpacked archive; `only` names the feature of a build that needs it."""

    path: str
    old: str
    new: str
    why: str
    only: str = ''


BASE_CONV_HPP = 'include/caffe/layers/base_conv_layer.hpp'
BASE_CONV_CPP = 'src/caffe/layers/base_conv_layer.cpp'
SHARED_BUFFER = 'shared-im2col'
FAST_PASS = 'fast-pass'

LARGE_WEIGHT_FILES = (
    Edit(
        'src/caffe/util/io.cpp',
        '  coded_input->SetTotalBytesLimit(536870912);\n',
        '  coded_input->SetTotalBytesLimit(kProtoReadBytesLimit);\n',
        'a caffemodel of a full-size network is larger than the 512 MiB of this archive; BVLC has INT_MAX here',
    ),
    Edit(
        'src/caffe/net.cpp',
        'void Net<Dtype>::CopyTrainedLayersFrom(const string& trained_filename) {\n'
        '  CopyTrainedLayersFromBinaryProto(trained_filename);\n'
        '}\n',
        'void Net<Dtype>::CopyTrainedLayersFrom(const string& trained_filename) {\n'
        '#ifdef USE_HDF5\n'
        '  if (H5Fis_hdf5(trained_filename.c_str()) > 0) {\n'
        '    CopyTrainedLayersFromHDF5(trained_filename);\n'
        '    return;\n'
        '  }\n'
        '#endif  // USE_HDF5\n'
        '  CopyTrainedLayersFromBinaryProto(trained_filename);\n'
        '}\n',
        'BVLC reads weights from HDF5 too; this archive lost it',
    ),
)

# Every use reshapes the buffer to the layer at hand: another layer, or another thread's forward pass, may have come between,
# and im2col_nd_gpu reads the shape from the buffer. Reshaping never shrinks it, so that costs nothing.
SHARED_IM2COL = (
    Edit(
        BASE_CONV_HPP,
        '  Blob<Dtype> col_buffer_;\n',
        '  // One im2col buffer for all convolution layers of a thread, in the shape of this layer. Its content lasts until\n'
        '  // another layer asks for it.\n'
        '  Blob<Dtype>& col_buffer() {\n'
        '    static thread_local Blob<Dtype> buffer;\n'
        '    buffer.Reshape(col_buffer_shape_);\n'
        '    return buffer;\n'
        '  }\n',
        'a buffer per layer doubles the memory of Dilation8 and the time of its first pass',
        SHARED_BUFFER,
    ),
    Edit(
        BASE_CONV_HPP,
        '      im2col_nd_gpu(data, num_spatial_axes_, num_kernels_im2col_,\n'
        '          conv_input_shape_.gpu_data(), col_buffer_.gpu_shape(),\n',
        '      im2col_nd_gpu(data, num_spatial_axes_, num_kernels_im2col_,\n'
        '          conv_input_shape_.gpu_data(), col_buffer().gpu_shape(),\n',
        'shared buffer',
        SHARED_BUFFER,
    ),
    Edit(
        BASE_CONV_HPP,
        '      col2im_nd_gpu(col_buff, num_spatial_axes_, num_kernels_col2im_,\n'
        '          conv_input_shape_.gpu_data(), col_buffer_.gpu_shape(),\n',
        '      col2im_nd_gpu(col_buff, num_spatial_axes_, num_kernels_col2im_,\n'
        '          conv_input_shape_.gpu_data(), col_buffer().gpu_shape(),\n',
        'shared buffer',
        SHARED_BUFFER,
    ),
    Edit(
        BASE_CONV_CPP,
        '  col_buffer_.Reshape(col_buffer_shape_);\n',
        '  if (!is_1x1_) {\n    col_buffer();  // allocated once, at the largest size, when the first pass begins\n  }\n',
        'shared buffer; a 1x1 convolution has no use for it',
        SHARED_BUFFER,
    ),
    *(
        Edit(
            BASE_CONV_CPP,
            f'      conv_im2col_{unit}(input, col_buffer_.mutable_{unit}_data());\n'
            '    }\n'
            f'    col_buff = col_buffer_.{unit}_data();\n',
            f'      conv_im2col_{unit}(input, col_buffer().mutable_{unit}_data());\n'
            '    }\n'
            f'    col_buff = col_buffer().{unit}_data();\n',
            'shared buffer',
            SHARED_BUFFER,
        )
        for unit in ('cpu', 'gpu')
    ),
    *(
        Edit(
            BASE_CONV_CPP,
            f'  Dtype* col_buff = col_buffer_.mutable_{unit}_data();\n  if (is_1x1_) {{\n    col_buff = input;\n  }}\n',
            f'  Dtype* col_buff = is_1x1_ ? input : col_buffer().mutable_{unit}_data();\n',
            'shared buffer; as released, a 1x1 convolution allocates one here that it does not use',
            SHARED_BUFFER,
        )
        for unit in ('cpu', 'gpu')
    ),
    *(
        Edit(
            BASE_CONV_CPP,
            f'    conv_im2col_{unit}(input, col_buffer_.mutable_{unit}_data());\n    col_buff = col_buffer_.{unit}_data();\n',
            f'    conv_im2col_{unit}(input, col_buffer().mutable_{unit}_data());\n    col_buff = col_buffer().{unit}_data();\n',
            'shared buffer',
            SHARED_BUFFER,
        )
        for unit in ('cpu', 'gpu')
    ),
)

# Beside the products, a pass of a large network on a CPU spent most on fresh memory, the first time, and on im2col.
FASTER_PASS = (
    Edit(
        'include/caffe/syncedmem.hpp',
        '  *ptr = malloc(size);\n',
        '  *ptr = calloc(1, size);\n  AdviseHugePages(*ptr, size);\n',
        'large blocks come from the kernel as zeros: no need to write them',
        FAST_PASS,
    ),
    Edit(
        'include/caffe/syncedmem.hpp',
        'namespace caffe {\n',
        '#ifdef __linux__\n'
        '#include <sys/mman.h>\n'
        '#endif\n'
        '\n'
        'namespace caffe {\n'
        '\n'
        '// Asks for pages of 2 MiB where a block covers whole ones. Only advice: without such pages nothing changes.\n'
        'inline void AdviseHugePages(void* block, size_t size) {\n'
        '#ifdef MADV_HUGEPAGE\n'
        '  const size_t page = size_t(1) << 21;\n'
        '  const size_t begin = (reinterpret_cast<size_t>(block) + page - 1) / page * page;\n'
        '  const size_t end = (reinterpret_cast<size_t>(block) + size) / page * page;\n'
        '  if (block && begin < end) {\n'
        '    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);\n'
        '  }\n'
        '#endif\n'
        '}\n',
        'a first pass spent seconds in the kernel on pages of 4 KiB',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/syncedmem.cpp',
        '    caffe_memset(size_, 0, cpu_ptr_);\n',
        '    if (cpu_malloc_use_cuda_) {\n      caffe_memset(size_, 0, cpu_ptr_);\n    }\n',
        'the zeros that calloc gave already',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/util/im2col.cpp',
        '#include <vector>\n',
        '#include <algorithm>\n#include <vector>\n',
        'used by the edit below',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/util/im2col.cpp',
        '            int input_col = -pad_w + kernel_col * dilation_w;\n'
        '            for (int output_col = output_w; output_col; output_col--) {\n'
        '              if (is_a_ge_zero_and_a_lt_b(input_col, width)) {\n'
        '                *(data_col++) =',
        '            int input_col = -pad_w + kernel_col * dilation_w;\n'
        '            if (stride_w == 1) {  // a row of the image, shifted, with zeros where that leaves the image\n'
        '              const int first = std::min(std::max(-input_col, 0), output_w);\n'
        '              const int last = std::max(std::min(width - input_col, output_w), first);\n'
        '              const Dtype* row = data_im + input_row * width;\n'
        '              std::fill(data_col, data_col + first, Dtype(0));\n'
        '              std::copy(row + input_col + first, row + input_col + last, data_col + first);\n'
        '              std::fill(data_col + last, data_col + output_w, Dtype(0));\n'
        '              data_col += output_w;\n'
        '              input_row += stride_h;\n'
        '              continue;\n'
        '            }\n'
        '            for (int output_col = output_w; output_col; output_col--) {\n'
        '              if (is_a_ge_zero_and_a_lt_b(input_col, width)) {\n'
        '                *(data_col++) =',
        'whole rows at once; the same values',
        FAST_PASS,
    ),
)

TODAYS_PYTHON = (
    Edit(
        'python/caffe/io.py',
        '        datum.data = arr.tostring()\n',
        '        datum.data = arr.tobytes()\n',
        'NumPy 2.3 removed tostring',
    ),
    Edit(
        'python/caffe/io.py',
        '        return np.fromstring(datum.data, dtype=np.uint8).reshape(\n',
        '        return np.frombuffer(datum.data, dtype=np.uint8).copy().reshape(\n',
        'NumPy 2.3 removed the binary mode of fromstring; the copy keeps the array writable',
    ),
    Edit(
        'python/caffe/io.py',
        '    img = skimage.img_as_float(skimage.io.imread(filename, as_grey=not color)).astype(np.float32)\n',
        '    img = skimage.util.img_as_float(skimage.io.imread(filename, as_gray=not color)).astype(np.float32)\n',
        'scikit-image renamed as_grey',
    ),
    Edit(
        'python/caffe/io.py',
        "            resized_std = resize(im_std, new_dims, order=interp_order, mode='constant')\n",
        "            resized_std = resize(im_std, new_dims, order=interp_order, mode='constant', anti_aliasing=False)\n",
        'scikit-image 0.15 began to blur before it shrinks; Caffe never did',
    ),
)

EDITS = LARGE_WEIGHT_FILES + SHARED_IM2COL + FASTER_PASS + TODAYS_PYTHON


def edits_for(features: Iterable[str], table: Iterable[Edit] = EDITS) -> list[Edit]:
    """The edits of `table` that a build with `features` needs, in order."""
    features = set(features)
    return [edit for edit in table if not edit.only or edit.only in features]


def apply_edits(source: Path, edits: Iterable[Edit]) -> None:
    """Apply `edits` to the tree at `source`. Raises UserError when an old text is not there exactly once."""
    for edit in edits:
        path = source / edit.path
        if not path.is_file():
            raise UserError(f'{path} is missing: the archive is not the one that tools/caffe_build/edits.py was written for')
        path.write_text(edited(path.read_text(encoding='utf-8'), edit), encoding='utf-8')


def edited(text: str, edit: Edit) -> str:
    """`text` with `edit` made. Raises UserError when its old text does not occur exactly once."""
    count = text.count(edit.old)
    if count != 1:
        raise UserError(
            f'{edit.path}: expected this text once, found it {count} times; '
            f'the archive is not the one that tools/caffe_build/edits.py was written for:\n{edit.old}'
        )
    return text.replace(edit.old, edit.new)
