"""Edits for the CUDA build: the columns of a convolution (im2col) in bands, so that a large image fits into a GPU's memory.

The columns of conv1_2 at 1396x1396 take 4.5 GB. With CAFFE_COLUMN_MIB=1024 in the environment a GPU makes and multiplies those
of as many rows of the output at a time as 1024 MiB hold. Without it nothing is different, nor is it on the CPU, nor for a
convolution of another stride than 1, a deconvolution, or one in other than two dimensions.
"""

from tools.caffe_build.edits import BASE_CONV_CPP, BASE_CONV_HPP, Edit

SHARED_BUFFER_ON_GPU = 'cuda-shared-im2col'
IM2COL_HPP, IM2COL_CU = 'include/caffe/util/im2col.hpp', 'src/caffe/util/im2col.cu'

_WINDOW = 'const int* size, const int* kernel,\n    const int* pad, const int* dilation, int first, int rows'
_TYPES = 'int, const int*, const int*,\n    const int*, const int*, int, int'

# Row r of a band is row first + r of the output: as if the image began `first` rows farther down.
_KERNELS = f"""template <typename Dtype>
void im2col_band_gpu(const Dtype* data_im, int channels, {_WINDOW}, Dtype* data_col) {{
  const int width_col = size[1] + 2 * pad[1] - dilation[1] * (kernel[1] - 1);
  const int n = channels * rows * width_col;
  im2col_gpu_kernel<Dtype><<<CAFFE_GET_BLOCKS(n), CAFFE_CUDA_NUM_THREADS>>>(
      n, data_im, size[0], size[1], kernel[0], kernel[1], pad[0] - first, pad[1],
      1, 1, dilation[0], dilation[1], rows, width_col, data_col);
  CUDA_POST_KERNEL_CHECK;
}}

template <typename Dtype>
void col2im_band_gpu(const Dtype* data_col, int channels, {_WINDOW}, Dtype* data_im) {{
  const int width_col = size[1] + 2 * pad[1] - dilation[1] * (kernel[1] - 1);
  const int n = channels * size[0] * size[1];
  col2im_gpu_kernel<Dtype><<<CAFFE_GET_BLOCKS(n), CAFFE_CUDA_NUM_THREADS>>>(
      n, data_col, size[0], size[1], channels, kernel[0], kernel[1], pad[0] - first, pad[1],
      1, 1, dilation[0], dilation[1], rows, width_col, data_im, first > 0);
  CUDA_POST_KERNEL_CHECK;
}}
""" + ''.join(
    f'template void {name}<{dtype}>(const {dtype}*, {_TYPES}, {dtype}*);\n'
    for name in ('im2col_band_gpu', 'col2im_band_gpu')
    for dtype in ('float', 'double')
)

_DECLARATIONS = f"""// The columns of `rows` rows of the output from row `first` on, for stride 1;
// col2im_band_gpu adds to the image, but for the first band, which begins it.
template <typename Dtype>
void im2col_band_gpu(const Dtype* data_im, int channels, {_WINDOW}, Dtype* data_col);
template <typename Dtype>
void col2im_band_gpu(const Dtype* data_col, int channels, {_WINDOW}, Dtype* data_im);

"""

_HOW_MANY_ROWS = """  // Rows of the output in a band, as many as CAFFE_COLUMN_MIB mebibytes hold;
  // 0 if there are no bands.
  int band_rows() {
    static const char* const mebibytes = getenv("CAFFE_COLUMN_MIB");
    if (mebibytes == NULL || Caffe::mode() != Caffe::GPU ||
        num_spatial_axes_ != 2 || force_nd_im2col_ || is_1x1_ || reverse_dimensions() ||
        stride_.cpu_data()[0] != 1 || stride_.cpu_data()[1] != 1) {
      return 0;
    }
    const double row = sizeof(Dtype) * static_cast<double>(col_buffer_shape_[0]) * col_buffer_shape_[2];
    const double rows = atof(mebibytes) * 1048576 / row;
    return rows >= col_buffer_shape_[1] ? 0 : rows < 1 ? 1 : static_cast<int>(rows);
  }
#ifndef CPU_ONLY
  void forward_gpu_bands(const Dtype* input, const Dtype* weights, Dtype* output);
  void backward_gpu_bands(const Dtype* output, const Dtype* weights, Dtype* input);
  void weight_gpu_bands(const Dtype* input, const Dtype* output, Dtype* weights);
#endif
"""

_PRODUCTS = """// c = op(a) op(b) + beta c, m x n; matrices lie in rows, which are lda, ldb and ldc apart.
"""
_PRODUCTS += '\n'.join(
    f"""static void gemm(cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const {dtype}* a, int lda, const {dtype}* b, int ldb, {dtype} beta, {dtype}* c, int ldc) {{
  const {dtype} one = 1;
  CUBLAS_CHECK(cublas{letter}gemm(Caffe::cublas_handle(), op_b, op_a, n, m, k, &one,
      b, ldb, a, lda, &beta, c, ldc));
}}
"""
    for dtype, letter in (('float', 'S'), ('double', 'D'))
)


def _bands(name: str, arguments: str, before: str, product: str, after: str) -> str:
    """A member function that goes through the bands; `product` is of one group. Pixels of a band are columns of the output."""
    return f"""
template <typename Dtype>
void BaseConvolutionLayer<Dtype>::{name}_gpu_bands({arguments}) {{
  const int height = col_buffer_shape_[1], width = col_buffer_shape_[2], step = band_rows();
  const int channels = conv_out_channels_ / group_;
  const int* const size = conv_input_shape_.cpu_data() + 1;
  Dtype* const col = col_buffer().mutable_gpu_data();
  for (int first = 0; first < height; first += step) {{
    const int rows = std::min(step, height - first), pixels = rows * width;
{before}    for (int g = 0; g < group_; ++g) {{
      Dtype* const col_g = col + kernel_dim_ * pixels * g;
      const int weight_g = weight_offset_ * g, output_g = output_offset_ * g + first * width;
      gemm({product});
    }}
{after}  }}
}}
"""


def _columns(call: str, source: str, target: str) -> str:
    """A call of one of _KERNELS."""
    return (
        f'    {call}({source}, conv_in_channels_, size, kernel_shape_.cpu_data(),\n'
        f'        pad_.cpu_data(), dilation_.cpu_data(), first, rows, {target});\n'
    )


_IM2COL = _columns('im2col_band_gpu', 'input', 'col')
_FUNCTIONS = {
    'forward': (
        'const Dtype* input,\n    const Dtype* weights, Dtype* output',
        _IM2COL,
        'CUBLAS_OP_N, CUBLAS_OP_N, channels, pixels, kernel_dim_,\n          weights + weight_g, kernel_dim_, col_g, pixels,\n'
        '          0, output + output_g, conv_out_spatial_dim_',
        '',
    ),
    'backward': (
        'const Dtype* output,\n    const Dtype* weights, Dtype* input',
        '',
        'CUBLAS_OP_T, CUBLAS_OP_N, kernel_dim_, pixels, channels,\n          weights + weight_g, kernel_dim_,\n'
        '          output + output_g, conv_out_spatial_dim_, 0, col_g, pixels',
        _columns('col2im_band_gpu', 'col', 'input'),
    ),
    'weight': (
        'const Dtype* input,\n    const Dtype* output, Dtype* weights',
        _IM2COL,
        'CUBLAS_OP_N, CUBLAS_OP_T, channels, kernel_dim_, pixels,\n          output + output_g, conv_out_spatial_dim_,\n'
        '          col_g, pixels, 1, weights + weight_g, kernel_dim_',
        '',
    ),
}


def _begins(name: str, more: str = '') -> str:
    """The first lines of a member function of Caffe's."""
    return f'void BaseConvolutionLayer<Dtype>::{name}_gpu_gemm({_FUNCTIONS[name][0]}{more}) {{\n'


def _branch(name: str) -> str:
    """What is put first into it."""
    first, second, third = [word.split()[-1] for word in _FUNCTIONS[name][0].split(',')]
    call = f'{name}_gpu_bands({first.lstrip("*")}, {second.lstrip("*")}, {third.lstrip("*")})'
    return f'  if (band_rows()) {{\n    {call};\n    return;\n  }}\n'


_SKIP = ', bool skip_im2col'
_FORWARD = f'template <typename Dtype>\n{_begins("forward", _SKIP)}'
_MEMBERS = _PRODUCTS + ''.join(_bands(name, *parts) for name, parts in _FUNCTIONS.items()) + '\n'
_KERNEL_BEGINS = (
    '    const int height_col, const int width_col,\n    Dtype* data_im{more}) {{\n  CUDA_KERNEL_LOOP(index, n) {{\n'
    '    Dtype val = {start};\n    const int w_im = index % width + pad_w;\n'
)
_LAUNCH = '      pad_h, pad_w, stride_h, stride_w, dilation_h, dilation_w,\n      height_col, width_col, data_im'
_COL2IM = 'template <typename Dtype>\nvoid col2im_gpu('
_COL2IM_ND = 'template <typename Dtype, int num_axes>\n__global__ void col2im_nd_gpu_kernel('
_RESHAPE = '    buffer.Reshape(col_buffer_shape_);\n'
_COMMENT = '  // One im2col buffer for all convolution layers of a thread, in the shape of this layer.'


def _edit(path: str, old: str, new: str, why: str) -> Edit:
    return Edit(path, old, new, why, SHARED_BUFFER_ON_GPU)


EDITS = (
    _edit(IM2COL_HPP, _COL2IM, _DECLARATIONS + _COL2IM, 'bands'),
    _edit(
        IM2COL_CU,
        _KERNEL_BEGINS.format(more='', start='0'),
        _KERNEL_BEGINS.format(more=', const bool add', start='add ? data_im[index] : Dtype(0)'),
        'what bands send back adds up',
    ),
    _edit(IM2COL_CU, f'{_LAUNCH});\n', f'{_LAUNCH}, false);\n', 'all at once: begins the image'),
    _edit(IM2COL_CU, _COL2IM_ND, f'{_KERNELS}\n{_COL2IM_ND}', 'bands'),
    _edit(
        BASE_CONV_HPP,
        _RESHAPE,
        '    vector<int> shape = col_buffer_shape_;\n    if (band_rows()) {\n      shape[1] = band_rows();\n    }\n'
        '    buffer.Reshape(shape);\n',
        'the buffer holds a band',
    ),
    _edit(BASE_CONV_HPP, _COMMENT, _HOW_MANY_ROWS + _COMMENT, 'how large a band is'),
    _edit(BASE_CONV_HPP, '#include <map>\n', '#include <cstdlib>\n#include <map>\n', 'used by the edit above'),
    _edit(BASE_CONV_CPP, _FORWARD, f'{_MEMBERS}{_FORWARD}{_branch("forward")}', 'bands'),
    *(_edit(BASE_CONV_CPP, _begins(name), _begins(name) + _branch(name), 'bands') for name in ('backward', 'weight')),
)
