// A GPU that is none: the calls of CUDA, cuBLAS and cuRAND that Caffe's convolution makes, done on the host. Memory belongs to the
// device that was current when it was taken, and a product refuses memory of another. After close_driver() calls fail as they do
// when a process ends. With this and kernels that are loops, Caffe's own GPU code runs where there is no GPU.
#include <cblas.h>
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <curand.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "caffe/util/math_functions.hpp"
#include "runtime.hpp"

namespace {
struct Block { size_t size; int device; };
std::map<const char*, Block>& blocks() { static auto* const all = new std::map<const char*, Block>; return *all; }
std::mutex& guard() { static auto* const one = new std::mutex; return *one; }
thread_local int current = 0;
bool closed = false;
size_t most_bytes = 0;

cudaError_t state() { return closed ? cudaErrorCudartUnloading : cudaSuccess; }

void refuse_other_device(const void* pointer) {
  std::lock_guard<std::mutex> lock(guard());
  auto block = blocks().upper_bound(static_cast<const char*>(pointer));
  if (block == blocks().begin() || static_cast<const char*>(pointer) >= (--block)->first + block->second.size ||
      block->second.device != current) {
    fprintf(stderr, "memory that is not of device %d\n", current);
    abort();
  }
}
}  // namespace

int blocks_alive() { std::lock_guard<std::mutex> lock(guard()); return blocks().size(); }
size_t largest_block() { return most_bytes; }
void forget_largest() { most_bytes = 0; }
void close_driver() { closed = true; }

extern "C" {
cudaError_t cudaMalloc(void** pointer, size_t size) {
  *pointer = malloc(size ? size : 1);
  memset(*pointer, 0x7f, size);  // what was not written shows
  std::lock_guard<std::mutex> lock(guard());
  blocks()[static_cast<char*>(*pointer)] = {size, current};
  most_bytes = size > most_bytes ? size : most_bytes;
  return state();
}
cudaError_t cudaFree(void* pointer) {
  if (closed) return state();
  std::lock_guard<std::mutex> lock(guard());
  if (pointer && !blocks().erase(static_cast<char*>(pointer))) return cudaErrorInvalidValue;
  free(pointer);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** pointer, size_t size) { *pointer = malloc(size ? size : 1); return state(); }
cudaError_t cudaFreeHost(void* pointer) { if (!closed) free(pointer); return state(); }
cudaError_t cudaMemset(void* pointer, int value, size_t size) { memset(pointer, value, size); return state(); }
cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) { memcpy(to, from, size); return state(); }
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind, cudaStream_t) {
  memcpy(to, from, size);
  return state();
}
cudaError_t cudaGetDevice(int* device) { *device = current; return state(); }
cudaError_t cudaSetDevice(int device) { current = device; return state(); }
cudaError_t cudaGetDeviceCount(int* count) { *count = 2; return state(); }
cudaError_t cudaStreamQuery(cudaStream_t) { return state(); }
cudaError_t cudaGetLastError() { return cudaSuccess; }
cudaError_t cudaPeekAtLastError() { return cudaSuccess; }
const char* cudaGetErrorString(cudaError_t) { return "an error of the pretended GPU"; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp*, int) { return cudaErrorNotSupported; }
cudaError_t cudaDeviceGetAttribute(int*, cudaDeviceAttr, int) { return cudaErrorNotSupported; }

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) { *handle = reinterpret_cast<cublasHandle_t>(malloc(1)); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (closed) abort();  // the library's own state is gone by then
  free(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasSgemm_v2(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const float* alpha,
    const float* a, int lda, const float* b, int ldb, const float* beta, float* c, int ldc) {
  for (const void* pointer : {(const void*)a, (const void*)b, (const void*)c}) refuse_other_device(pointer);
  cblas_sgemm(CblasColMajor, op_a ? CblasTrans : CblasNoTrans, op_b ? CblasTrans : CblasNoTrans, m, n, k, *alpha, a, lda, b, ldb,
      *beta, c, ldc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDgemm_v2(cublasHandle_t, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const double* alpha,
    const double* a, int lda, const double* b, int ldb, const double* beta, double* c, int ldc) {
  cblas_dgemm(CblasColMajor, op_a ? CblasTrans : CblasNoTrans, op_b ? CblasTrans : CblasNoTrans, m, n, k, *alpha, a, lda, b, ldb,
      *beta, c, ldc);
  return CUBLAS_STATUS_SUCCESS;
}
curandStatus_t curandCreateGenerator(curandGenerator_t* generator, curandRngType_t) {
  *generator = reinterpret_cast<curandGenerator_t>(malloc(1));
  return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
  if (closed) abort();
  free(generator);
  return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t, unsigned long long) { return CURAND_STATUS_SUCCESS; }
curandStatus_t curandSetGeneratorOffset(curandGenerator_t, unsigned long long) { return CURAND_STATUS_SUCCESS; }
}

// What src/caffe/util/math_functions.cu has, as far as blobs and convolutions call it.
namespace caffe {
template <typename Dtype>
void caffe_gpu_gemm(const CBLAS_TRANSPOSE a_trans, const CBLAS_TRANSPOSE b_trans, const int m, const int n, const int k,
    const Dtype alpha, const Dtype* a, const Dtype* b, const Dtype beta, Dtype* c) {
  for (const void* pointer : {(const void*)a, (const void*)b, (const void*)c}) refuse_other_device(pointer);
  caffe_cpu_gemm(a_trans, b_trans, m, n, k, alpha, a, b, beta, c);
}
template <typename Dtype>
void caffe_gpu_gemv(const CBLAS_TRANSPOSE trans, const int m, const int n, const Dtype alpha, const Dtype* a, const Dtype* x,
    const Dtype beta, Dtype* y) {
  for (const void* pointer : {(const void*)a, (const void*)x, (const void*)y}) refuse_other_device(pointer);
  caffe_cpu_gemv(trans, m, n, alpha, a, x, beta, y);
}
template <typename Dtype> void caffe_gpu_axpy(const int n, const Dtype alpha, const Dtype* x, Dtype* y) { caffe_axpy(n, alpha, x, y); }
template <typename Dtype> void caffe_gpu_scal(const int n, const Dtype alpha, Dtype* x) { caffe_scal(n, alpha, x); }
template <typename Dtype> void caffe_gpu_asum(const int n, const Dtype* x, Dtype* y) { *y = caffe_cpu_asum(n, x); }
template <typename Dtype> void caffe_gpu_dot(const int n, const Dtype* x, const Dtype* y, Dtype* out) { *out = caffe_cpu_dot(n, x, y); }
void caffe_gpu_memcpy(const size_t size, const void* from, void* to) { if (from != to) memcpy(to, from, size); }
#define INSTANTIATE(Dtype) \
  template void caffe_gpu_gemm(CBLAS_TRANSPOSE, CBLAS_TRANSPOSE, int, int, int, Dtype, const Dtype*, const Dtype*, Dtype, Dtype*); \
  template void caffe_gpu_gemv(CBLAS_TRANSPOSE, int, int, Dtype, const Dtype*, const Dtype*, Dtype, Dtype*); \
  template void caffe_gpu_axpy(int, Dtype, const Dtype*, Dtype*); \
  template void caffe_gpu_scal(int, Dtype, Dtype*); \
  template void caffe_gpu_asum(int, const Dtype*, Dtype*); \
  template void caffe_gpu_dot(int, const Dtype*, const Dtype*, Dtype*);
INSTANTIATE(float)
INSTANTIATE(double)
}  // namespace caffe
