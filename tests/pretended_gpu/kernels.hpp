// Comes before a .cu file that is compiled as C++: a kernel is a function, which one call runs for all its threads.
// Not for kernels whose threads share memory (those of im2col in other than two dimensions), which compile and are not to be run.
#include <algorithm>

#include "caffe/common.hpp"

#undef CUDA_KERNEL_LOOP
#define CUDA_KERNEL_LOOP(i, n) for (int i = 0; i < (n); ++i)
using std::min;
static const struct { int x; } threadIdx = {0};
inline void __syncthreads() {}
