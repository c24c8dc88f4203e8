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
POOLING_CPP = 'src/caffe/layers/pooling_layer.cpp'
SHARED_BUFFER = 'shared-im2col'
FAST_PASS = 'fast-pass'
COLUMN_BITS = 28  # a forward pass makes at most 2^28 bytes of im2col columns at a time

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
    Edit(
        'include/caffe/util/math_functions.hpp',
        '#include <cmath>  // for std::fabs and std::signbit\n',
        '#include <algorithm>\n'
        '#include <cmath>  // for std::fabs and std::signbit\n'
        '#include <thread>  // NOLINT(build/c++11)\n'
        '#include <vector>\n',
        'used by the edit below',
        FAST_PASS,
    ),
    Edit(
        'include/caffe/util/math_functions.hpp',
        'namespace caffe {\n',
        'namespace caffe {\n'
        '\n'
        '// Calls work(first, last) for parts of [0, count), as many at a time as BLAS has threads; `bytes` is what is written:\n'
        '// a few of them are not worth a thread. The threads end here, so that a process can fork.\n'
        'template <typename Work>\n'
        'void InParallel(int count, size_t bytes, const Work& work) {\n'
        '  const int parts = bytes < (1 << 22) ? 1 : std::min(openblas_get_num_threads(), count);\n'
        '  std::vector<std::thread> threads;\n'
        '  for (int part = 1; part < parts; ++part) {\n'
        '    threads.emplace_back(work, int64_t(count) * part / parts, int64_t(count) * (part + 1) / parts);\n'
        '  }\n'
        '  work(0, parts > 1 ? count / parts : count);\n'
        '  for (std::thread& thread : threads) {\n'
        '    thread.join();\n'
        '  }\n'
        '}\n',
        'one core moved the memory while the others waited',
        FAST_PASS,
    ),
    Edit(
        'include/caffe/util/im2col.hpp',
        'template <typename Dtype>\nvoid im2col_cpu(',
        '// The columns of output rows [first_row, first_row + rows) alone.\n'
        'template <typename Dtype>\n'
        'void im2col_rows_cpu(const Dtype* data_im, const int channels,\n'
        '    const int height, const int width, const int kernel_h, const int kernel_w,\n'
        '    const int pad_h, const int pad_w, const int stride_h,\n'
        '    const int stride_w, const int dilation_h, const int dilation_w,\n'
        '    const int first_row, const int rows, Dtype* data_col);\n'
        '\n'
        'template <typename Dtype>\n'
        'void im2col_cpu(',
        'a convolution in parts, below, needs the columns of some rows',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/util/im2col.cpp',
        'template <typename Dtype>\n'
        'void im2col_cpu(const Dtype* data_im, const int channels,\n'
        '    const int height, const int width, const int kernel_h, const int kernel_w,\n'
        '    const int pad_h, const int pad_w,\n'
        '    const int stride_h, const int stride_w,\n'
        '    const int dilation_h, const int dilation_w,\n'
        '    Dtype* data_col) {\n'
        '  const int output_h = (height + 2 * pad_h -\n'
        '    (dilation_h * (kernel_h - 1) + 1)) / stride_h + 1;\n',
        'template <typename Dtype>\n'
        'void im2col_rows_cpu(const Dtype* data_im, const int channels,\n'
        '    const int height, const int width, const int kernel_h, const int kernel_w,\n'
        '    const int pad_h, const int pad_w,\n'
        '    const int stride_h, const int stride_w,\n'
        '    const int dilation_h, const int dilation_w,\n'
        '    const int first_row, const int rows, Dtype* data_col) {\n',
        'im2col of some rows',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/util/im2col.cpp',
        '  const int channel_size = height * width;\n'
        '  for (int channel = channels; channel--; data_im += channel_size) {\n'
        '    for (int kernel_row = 0; kernel_row < kernel_h; kernel_row++) {\n'
        '      for (int kernel_col = 0; kernel_col < kernel_w; kernel_col++) {\n'
        '        int input_row = -pad_h + kernel_row * dilation_h;\n'
        '        for (int output_rows = output_h; output_rows; output_rows--) {\n'
        '          if (!is_a_ge_zero_and_a_lt_b(input_row, height)) {\n'
        '            for (int',
        '  const int channel_size = height * width;\n'
        '  const Dtype* const image = data_im;\n'
        '  Dtype* const columns = data_col;\n'
        '  const size_t column_size = size_t(kernel_h) * kernel_w * rows * output_w;\n'
        '  InParallel(channels, channels * column_size * sizeof(Dtype), [=](int first_channel, int last_channel) {\n'
        '  const Dtype* data_im = image + size_t(first_channel) * channel_size;\n'
        '  Dtype* data_col = columns + first_channel * column_size;\n'
        '  for (int channel = first_channel; channel < last_channel; ++channel, data_im += channel_size) {\n'
        '    for (int kernel_row = 0; kernel_row < kernel_h; kernel_row++) {\n'
        '      for (int kernel_col = 0; kernel_col < kernel_w; kernel_col++) {\n'
        '        int input_row = -pad_h + kernel_row * dilation_h + first_row * stride_h;\n'
        '        for (int output_rows = rows; output_rows; output_rows--) {\n'
        '          if (!is_a_ge_zero_and_a_lt_b(input_row, height)) {\n'
        '            for (int',
        'channels in parallel; the same values',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/util/im2col.cpp',
        '      }\n    }\n  }\n}\n\n// Explicit instantiation\ntemplate void im2col_cpu<float>(',
        '      }\n    }\n  }\n  });\n}\n'
        '\n'
        'template <typename Dtype>\n'
        'void im2col_cpu(const Dtype* data_im, const int channels,\n'
        '    const int height, const int width, const int kernel_h, const int kernel_w,\n'
        '    const int pad_h, const int pad_w, const int stride_h, const int stride_w,\n'
        '    const int dilation_h, const int dilation_w, Dtype* data_col) {\n'
        '  const int output_h = (height + 2 * pad_h - (dilation_h * (kernel_h - 1) + 1)) / stride_h + 1;\n'
        '  im2col_rows_cpu(data_im, channels, height, width, kernel_h, kernel_w, pad_h, pad_w, stride_h, stride_w,\n'
        '      dilation_h, dilation_w, 0, output_h, data_col);\n'
        '}\n'
        '\n'
        '// Explicit instantiation\n'
        'template void im2col_rows_cpu<float>(const float*, const int, const int, const int, const int, const int, const int,\n'
        '    const int, const int, const int, const int, const int, const int, const int, float*);\n'
        'template void im2col_rows_cpu<double>(const double*, const int, const int, const int, const int, const int, const int,\n'
        '    const int, const int, const int, const int, const int, const int, const int, double*);\n'
        'template void im2col_cpu<float>(',
        'the end of the parallel part; all rows are some rows',
        FAST_PASS,
    ),
    Edit(
        BASE_CONV_CPP,
        'namespace caffe {\n',
        'namespace caffe {\n'
        '\n'
        '// Columns of one part of a forward pass. Large, so that BLAS seldom packs the weights anew.\n'
        f'const size_t kColumnBytes = size_t(1) << {COLUMN_BITS};\n'
        '\n'
        '// n columns of a row-major product, whose rows are `stride` elements apart.\n'
        'inline void MultiplyPart(int m, int n, int k, const float* a, const float* b, float* c, int stride) {\n'
        '  cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, n, 0, c, stride);\n'
        '}\n'
        'inline void MultiplyPart(int m, int n, int k, const double* a, const double* b, double* c, int stride) {\n'
        '  cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, m, n, k, 1, a, k, b, n, 0, c, stride);\n'
        '}\n',
        'used by the edit below',
        FAST_PASS,
    ),
    Edit(
        BASE_CONV_CPP,
        '    const Dtype* weights, Dtype* output, bool skip_im2col) {\n'
        '  const Dtype* col_buff = input;\n'
        '  if (!is_1x1_) {\n'
        '    if (!skip_im2col) {\n'
        '      conv_im2col_cpu(',
        '    const Dtype* weights, Dtype* output, bool skip_im2col) {\n'
        '  const size_t columns = size_t(kernel_dim_) * group_;\n'
        '  if (!is_1x1_ && !skip_im2col && !force_nd_im2col_ && num_spatial_axes_ == 2 &&\n'
        '      columns * conv_out_spatial_dim_ * sizeof(Dtype) > kColumnBytes) {\n'
        '    // Some output rows at a time: the rest of the buffer is never touched, so it costs no memory.\n'
        '    const int height = col_buffer_shape_[1], width = col_buffer_shape_[2];\n'
        '    const int most = std::max<int>(1, kColumnBytes / (columns * width * sizeof(Dtype)));\n'
        '    Dtype* part = col_buffer().mutable_cpu_data();\n'
        '    for (int row = 0; row < height; row += most) {\n'
        '      const int rows = std::min(most, height - row), count = rows * width;\n'
        '      im2col_rows_cpu(input, conv_in_channels_,\n'
        '          conv_input_shape_.cpu_data()[1], conv_input_shape_.cpu_data()[2],\n'
        '          kernel_shape_.cpu_data()[0], kernel_shape_.cpu_data()[1], pad_.cpu_data()[0], pad_.cpu_data()[1],\n'
        '          stride_.cpu_data()[0], stride_.cpu_data()[1], dilation_.cpu_data()[0], dilation_.cpu_data()[1],\n'
        '          row, rows, part);\n'
        '      for (int g = 0; g < group_; ++g) {\n'
        '        MultiplyPart(conv_out_channels_ / group_, count, kernel_dim_, weights + weight_offset_ * g,\n'
        '            part + size_t(kernel_dim_) * count * g, output + output_offset_ * g + row * width, conv_out_spatial_dim_);\n'
        '      }\n'
        '    }\n'
        '    return;\n'
        '  }\n'
        '  const Dtype* col_buff = input;\n'
        '  if (!is_1x1_) {\n'
        '    if (!skip_im2col) {\n'
        '      conv_im2col_cpu(',
        'a forward pass needs a part of the columns at a time: the same bits, less memory',
        FAST_PASS,
    ),
    Edit(
        'src/caffe/layers/relu_layer.cpp',
        '  for (int i = 0; i < count; ++i) {\n'
        '    top_data[i] = std::max(bottom_data[i], Dtype(0))\n'
        '        + negative_slope * std::min(bottom_data[i], Dtype(0));\n'
        '  }\n',
        '  InParallel(count, count * sizeof(Dtype), [=](int first, int last) {\n'
        '    for (int i = first; i < last; ++i) {\n'
        '      top_data[i] = std::max(bottom_data[i], Dtype(0))\n'
        '          + negative_slope * std::min(bottom_data[i], Dtype(0));\n'
        '    }\n'
        '  });\n',
        'elements in parallel; the same values',
        FAST_PASS,
    ),
    Edit(
        POOLING_CPP,
        '    caffe_set(top_count, Dtype(-FLT_MAX), top_data);\n'
        '    // The main loop\n'
        '    for (int n = 0; n < bottom[0]->num(); ++n) {\n'
        '      for (int c = 0; c < channels_; ++c) {\n',
        '    caffe_set(top_count, Dtype(-FLT_MAX), top_data);\n'
        '    // The main loop\n'
        '    InParallel(bottom[0]->num() * channels_, top_count * sizeof(Dtype), [=](int first, int last) {\n'
        '      const Dtype* image = bottom_data + size_t(first) * bottom[0]->offset(0, 1);\n'
        '      Dtype* maxima = top_data + size_t(first) * top[0]->offset(0, 1);\n'
        '      Dtype* top_place = use_top_mask ? top_mask + size_t(first) * top[0]->offset(0, 1) : NULL;\n'
        '      int* place = use_top_mask ? NULL : mask + size_t(first) * top[0]->offset(0, 1);\n'
        '      for (int plane = first; plane < last; ++plane) {\n',
        'one core pooled while the others waited',
        FAST_PASS,
    ),
    Edit(
        POOLING_CPP,
        '                if (bottom_data[index] > top_data[pool_index]) {\n'
        '                  top_data[pool_index] = bottom_data[index];\n'
        '                  if (use_top_mask) {\n'
        '                    top_mask[pool_index] = static_cast<Dtype>(index);\n'
        '                  } else {\n'
        '                    mask[pool_index] = index;\n'
        '                  }\n',
        '                if (image[index] > maxima[pool_index]) {\n'
        '                  maxima[pool_index] = image[index];\n'
        '                  if (use_top_mask) {\n'
        '                    top_place[pool_index] = static_cast<Dtype>(index);\n'
        '                  } else {\n'
        '                    place[pool_index] = index;\n'
        '                  }\n',
        'planes in parallel; the same values',
        FAST_PASS,
    ),
    Edit(
        POOLING_CPP,
        '        bottom_data += bottom[0]->offset(0, 1);\n'
        '        top_data += top[0]->offset(0, 1);\n'
        '        if (use_top_mask) {\n'
        '          top_mask += top[0]->offset(0, 1);\n'
        '        } else {\n'
        '          mask += top[0]->offset(0, 1);\n'
        '        }\n'
        '      }\n'
        '    }\n',
        '        image += bottom[0]->offset(0, 1);\n'
        '        maxima += top[0]->offset(0, 1);\n'
        '        if (use_top_mask) {\n'
        '          top_place += top[0]->offset(0, 1);\n'
        '        } else {\n'
        '          place += top[0]->offset(0, 1);\n'
        '        }\n'
        '      }\n'
        '    });\n',
        'the end of the parallel part',
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
