// The calls of cuBLAS that Caffe makes, by OpenBLAS. A handle belongs to the GPU that was current when it was made. In the mode
// TF32 the factors of a product of matrices are rounded to 10 bits of mantissa.
#include <cblas.h>
#include <cublas_v2.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "memory.hpp"

using pretended::here;

namespace {
struct Handle { int device; bool tf32; cudaStream_t stream; };

const Handle& checked(cublasHandle_t handle) {
  const Handle& ours = *reinterpret_cast<Handle*>(handle);
  if (ours.device != pretended::current_device()) pretended::refuse("a cuBLAS handle of another GPU", handle);
  return ours;
}

CBLAS_TRANSPOSE flag(cublasOperation_t operation) { return operation == CUBLAS_OP_N ? CblasNoTrans : CblasTrans; }

// A matrix by columns with its elements rounded to the nearest of 10 bits of mantissa.
std::vector<float> rounded(const float* values, int rows, int columns, int leading) {
  std::vector<float> copy(size_t(leading) * columns);
  for (int column = 0; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) {
      uint32_t bits;
      memcpy(&bits, values + size_t(column) * leading + row, 4);
      bits = (bits + 0x1000) & 0xffffe000;
      memcpy(&copy[size_t(column) * leading + row], &bits, 4);
    }
  }
  return copy;
}
}  // namespace

extern "C" {
cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = reinterpret_cast<cublasHandle_t>(new Handle{pretended::current_device(), false, nullptr});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  if (pretended::driver_has_closed()) pretended::refuse("a cuBLAS handle freed after the driver has closed", handle);
  delete reinterpret_cast<Handle*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode) {
  reinterpret_cast<Handle*>(handle)->tf32 = mode == CUBLAS_TF32_TENSOR_OP_MATH;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  reinterpret_cast<Handle*>(handle)->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasGetStream_v2(cublasHandle_t handle, cudaStream_t* stream) {
  *stream = reinterpret_cast<Handle*>(handle)->stream;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k, const float* alpha,
    const float* a, int lda, const float* b, int ldb, const float* beta, float* c, int ldc) {
  const float *left = here(a), *right = here(b);
  std::vector<float> left_copy, right_copy;
  if (checked(handle).tf32) {
    left_copy = op_a == CUBLAS_OP_N ? rounded(left, m, k, lda) : rounded(left, k, m, lda);
    right_copy = op_b == CUBLAS_OP_N ? rounded(right, k, n, ldb) : rounded(right, n, k, ldb);
    left = left_copy.data();
    right = right_copy.data();
  }
  cblas_sgemm(CblasColMajor, flag(op_a), flag(op_b), m, n, k, *alpha, left, lda, right, ldb, *beta, here(c), ldc);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDgemm_v2(cublasHandle_t handle, cublasOperation_t op_a, cublasOperation_t op_b, int m, int n, int k,
    const double* alpha, const double* a, int lda, const double* b, int ldb, const double* beta, double* c, int ldc) {
  checked(handle);
  cblas_dgemm(CblasColMajor, flag(op_a), flag(op_b), m, n, k, *alpha, here(a), lda, here(b), ldb, *beta, here(c), ldc);
  return CUBLAS_STATUS_SUCCESS;
}

#define BOTH(letter, low, type) \
  cublasStatus_t cublas##letter##gemv_v2(cublasHandle_t handle, cublasOperation_t op, int m, int n, const type* alpha, const type* a, \
      int lda, const type* x, int incx, const type* beta, type* y, int incy) { \
    checked(handle); \
    cblas_##low##gemv(CblasColMajor, flag(op), m, n, *alpha, here(a), lda, here(x), incx, *beta, here(y), incy); \
    return CUBLAS_STATUS_SUCCESS; \
  } \
  cublasStatus_t cublas##letter##axpy_v2(cublasHandle_t handle, int n, const type* alpha, const type* x, int incx, type* y, int incy) { \
    checked(handle); \
    cblas_##low##axpy(n, *alpha, here(x), incx, here(y), incy); \
    return CUBLAS_STATUS_SUCCESS; \
  } \
  cublasStatus_t cublas##letter##scal_v2(cublasHandle_t handle, int n, const type* alpha, type* x, int incx) { \
    checked(handle); \
    cblas_##low##scal(n, *alpha, here(x), incx); \
    return CUBLAS_STATUS_SUCCESS; \
  } \
  cublasStatus_t cublas##letter##copy_v2(cublasHandle_t handle, int n, const type* x, int incx, type* y, int incy) { \
    checked(handle); \
    cblas_##low##copy(n, here(x), incx, here(y), incy); \
    return CUBLAS_STATUS_SUCCESS; \
  } \
  cublasStatus_t cublas##letter##asum_v2(cublasHandle_t handle, int n, const type* x, int incx, type* result) { \
    checked(handle); \
    *result = cblas_##low##asum(n, here(x), incx); \
    return CUBLAS_STATUS_SUCCESS; \
  } \
  cublasStatus_t cublas##letter##dot_v2(cublasHandle_t handle, int n, const type* x, int incx, const type* y, int incy, type* result) { \
    checked(handle); \
    *result = cblas_##low##dot(n, here(x), incx, here(y), incy); \
    return CUBLAS_STATUS_SUCCESS; \
  }
BOTH(S, s, float)
BOTH(D, d, double)
}
