"""The edits to Caffe's source that only a CUDA build needs. They come after those of edits.py, whose text they may change."""

from tools.caffe_build import cuda_bands
from tools.caffe_build.cuda_bands import SHARED_BUFFER_ON_GPU
from tools.caffe_build.edits import BASE_CONV_HPP, Edit

CUDA = 'cuda'
COMMON = 'src/caffe/common.cpp'
THREAD = 'src/caffe/internal_thread.cpp'
SYNCED_HPP = 'include/caffe/syncedmem.hpp'
SYNCED_CPP = 'src/caffe/syncedmem.cpp'

REMOVED_FIELDS = {
    'clockRate': 'ClockRate',
    'deviceOverlap': 'GpuOverlap',
    'kernelExecTimeoutEnabled': 'KernelExecTimeout',
}
TODAYS_CUDA = tuple(
    Edit(
        COMMON,
        f'prop.{field}',
        f'device_attribute(cudaDevAttr{attribute}, device)',
        'CUDA 13 took this field out of cudaDeviceProp; the attribute is in every version',
        CUDA,
    )
    for field, attribute in REMOVED_FIELDS.items()
) + (
    Edit(
        COMMON,
        'void Caffe::DeviceQuery() {\n  cudaDeviceProp prop;\n',
        'static int device_attribute(cudaDeviceAttr attribute, int device) {\n'
        '  int value = 0;\n'
        '  CUDA_CHECK(cudaDeviceGetAttribute(&value, attribute, device));\n'
        '  return value;\n'
        '}\n\n'
        'void Caffe::DeviceQuery() {\n  cudaDeviceProp prop;\n',
        'used by the edits above',
        CUDA,
    ),
)

WITHOUT_A_DRIVER = (
    Edit(
        COMMON,
        '  // Try to create a cublas handler, and report an error if failed (but we will\n'
        '  // keep the program running as one might just want to run CPU code).\n',
        '  int devices = 0;\n'
        '  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {\n'
        '    cudaGetLastError();\n'
        '    return;\n'
        '  }\n',
        'a CUDA build on a machine without a GPU is no error as long as nobody asks for one',
        CUDA,
    ),
    Edit(
        COMMON,
        '        LOG(ERROR) <<\n            "Curand not available. Skipping setting the curand seed.";\n',
        '        LOG(INFO) <<\n            "Curand not available. Skipping setting the curand seed.";\n',
        'no error without a GPU',
        CUDA,
    ),
    Edit(
        THREAD,
        '  CUDA_CHECK(cudaGetDevice(&device));\n',
        '  if (Caffe::mode() == Caffe::GPU) {\n    CUDA_CHECK(cudaGetDevice(&device));\n  }\n',
        'a Data layer starts a thread; without a driver that ended the program, on the CPU too',
        CUDA,
    ),
    Edit(
        THREAD,
        '  CUDA_CHECK(cudaSetDevice(device));\n',
        '  if (mode == Caffe::GPU) {\n    CUDA_CHECK(cudaSetDevice(device));\n  }\n',
        'a Data layer starts a thread; without a driver that ended the program, on the CPU too',
        CUDA,
    ),
)

# Static objects (the handles of the main thread, blobs that Python still holds) may go after the CUDA runtime has.
CLEAN_EXIT = (
    Edit(
        SYNCED_CPP,
        '  if (gpu_ptr_ && own_gpu_data_) {\n    CUDA_CHECK(cudaFree(gpu_ptr_));\n  }\n#endif  // CPU_ONLY\n',
        '  if (gpu_ptr_ && own_gpu_data_) {\n    CUDA_CHECK_UNLESS_UNLOADING(cudaFree(gpu_ptr_));\n  }\n#endif  // CPU_ONLY\n',
        'at exit the driver has freed it',
        CUDA,
    ),
    Edit(
        SYNCED_HPP,
        '    CUDA_CHECK(cudaFreeHost(ptr));\n',
        '    CUDA_CHECK_UNLESS_UNLOADING(cudaFreeHost(ptr));\n',
        'at exit the driver has freed it',
        CUDA,
    ),
    Edit(
        SYNCED_HPP,
        '// If CUDA is available and in GPU mode, host memory',
        '#define CUDA_CHECK_UNLESS_UNLOADING(condition) \\\n'
        '  do { \\\n'
        '    cudaError_t error = condition; \\\n'
        '    CHECK(error == cudaSuccess || error == cudaErrorCudartUnloading) << cudaGetErrorString(error); \\\n'
        '  } while (0)\n\n'
        '// If CUDA is available and in GPU mode, host memory',
        'used by the edits above',
        CUDA,
    ),
    Edit(
        COMMON,
        '  if (cublas_handle_) CUBLAS_CHECK(cublasDestroy(cublas_handle_));\n'
        '  if (curand_generator_) {\n'
        '    CURAND_CHECK(curandDestroyGenerator(curand_generator_));\n'
        '  }\n'
        '}\n\n'
        'void Caffe::set_random_seed',
        '  if (!cublas_handle_ && !curand_generator_) {\n'
        '    return;\n'
        '  }\n'
        '  const cudaError_t state = cudaStreamQuery(0);\n'
        '  if (state != cudaSuccess && state != cudaErrorNotReady) {\n'
        '    return;\n'
        '  }\n'
        '  if (cublas_handle_) cublasDestroy(cublas_handle_);\n'
        '  if (curand_generator_) curandDestroyGenerator(curand_generator_);\n'
        '}\n\n'
        'void Caffe::set_random_seed',
        'the handles of the main thread go when the process ends: the driver may have closed before, and the handles with it',
        CUDA,
    ),
)

# TF32 rounds the factors of each product to 10 bits of mantissa; Caffe never did, so it has to be asked for. cuBLAS itself reads
# CUBLAS_WORKSPACE_CONFIG (:32768:2 is two pieces of 32 MiB), so a larger workspace needs no edit.
TF32 = (
    Edit(
        COMMON,
        '#else  // Normal GPU + CPU Caffe.\n\n',
        '#else  // Normal GPU + CPU Caffe.\n\n'
        'static void set_math_mode(cublasHandle_t handle) {\n'
        '  static const char* tf32 = getenv("CAFFE_TF32");\n'
        '  if (tf32 != NULL && strcmp(tf32, "1") == 0) {\n'
        '    CUBLAS_CHECK(cublasSetMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH));\n'
        '  }\n'
        '}\n\n',
        'CAFFE_TF32=1 in the environment lets cuBLAS use TF32',
        CUDA,
    ),
    Edit(
        COMMON,
        '    LOG(ERROR) << "Cannot create Cublas handle. Cublas won\'t be available.";\n  }\n',
        '    LOG(ERROR) << "Cannot create Cublas handle. Cublas won\'t be available.";\n'
        '  } else {\n    set_math_mode(cublas_handle_);\n  }\n',
        'CAFFE_TF32=1, the handle of the GPU that is current from the start',
        CUDA,
    ),
    Edit(
        COMMON,
        '  CUBLAS_CHECK(cublasCreate(&Get().cublas_handle_));\n',
        '  CUBLAS_CHECK(cublasCreate(&Get().cublas_handle_));\n  set_math_mode(Get().cublas_handle_);\n',
        "CAFFE_TF32=1, another GPU's handle",
        CUDA,
    ),
    Edit(
        COMMON,
        '#include <cstdio>\n',
        '#include <cstdio>\n#include <cstdlib>\n#include <cstring>\n',
        'used by the edits above',
        CUDA,
    ),
)

# A thread may run nets on several GPUs, one after another, and on the CPU: memory of one GPU must not reach another's kernels.
ONE_BUFFER_A_DEVICE = (
    Edit(
        BASE_CONV_HPP,
        '    static thread_local Blob<Dtype> buffer;\n',
        '    int device = -1;  // the CPU\n'
        '    if (Caffe::mode() == Caffe::GPU) {\n'
        '      CUDA_CHECK(cudaGetDevice(&device));\n'
        '    }\n'
        '    static thread_local std::map<int, Blob<Dtype> > buffers;\n'
        '    Blob<Dtype>& buffer = buffers[device];\n',
        'the shared im2col buffer, one for each GPU that a thread uses',
        SHARED_BUFFER_ON_GPU,
    ),
    Edit(
        BASE_CONV_HPP,
        '#include <vector>\n',
        '#include <map>\n#include <vector>\n',
        'used by the edit above',
        SHARED_BUFFER_ON_GPU,
    ),
)

EDITS = TODAYS_CUDA + WITHOUT_A_DRIVER + CLEAN_EXIT + TF32 + ONE_BUFFER_A_DEVICE + cuda_bands.EDITS
