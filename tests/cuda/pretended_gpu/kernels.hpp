// Comes before a .cu file that is compiled as C++: what nvcc gives a kernel, and how one is run on the host. A kernel without
// __syncthreads() is called once, as the one thread of a grid of one: Caffe's kernels stride over their elements. One with it gets
// a block of one warp, whose threads take turns from barrier to barrier.
#pragma once
#include <cuda_runtime.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include "memory.hpp"

using std::max;
using std::min;
#undef __shared__
#define __shared__ static thread_local
#define __CUDA_ARCH__ 900

namespace pretended {
struct Place { unsigned x = 0, y = 0, z = 0; };
inline thread_local ucontext_t scheduler;
inline thread_local ucontext_t* running = nullptr;
inline thread_local std::function<void()>* body = nullptr;
}  // namespace pretended
inline thread_local pretended::Place threadIdx, blockIdx;
inline thread_local dim3 blockDim, gridDim;

inline void __syncthreads() { swapcontext(pretended::running, &pretended::scheduler); }
template <typename T> T atomicAdd(T* address, T value) { const T old = *address; *address += value; return old; }
template <typename T> T atomicCAS(T* address, T compare, std::common_type_t<T> value) {
  const T old = *address;
  if (old == compare) *address = value;
  return old;
}
inline long long __double_as_longlong(double value) { long long bits; memcpy(&bits, &value, 8); return bits; }
inline double __longlong_as_double(long long bits) { double value; memcpy(&value, &bits, 8); return value; }

namespace pretended {
template <typename T> T argument(void* place) {
  T value = *static_cast<std::remove_const_t<T>*>(place);
  if constexpr (std::is_pointer_v<T>) value = here(value);
  return value;
}

template <typename... T, size_t... I> void call(void (*kernel)(T...), void** arguments, std::index_sequence<I...>) {
  kernel(argument<T>(arguments[I])...);
}

template <typename... T> void alone(void (*kernel)(T...), void** arguments) {
  blockDim = gridDim = dim3(1);
  threadIdx = {};
  call(kernel, arguments, std::index_sequence_for<T...>());
}

template <typename... T> void in_turns(void (*kernel)(T...), void** arguments) {
  const size_t kStack = 64 << 10;
  const unsigned kThreads = 32;
  static thread_local std::vector<char> stacks(kStack * kThreads);
  std::vector<ucontext_t> threads(kThreads);
  std::vector<bool> ended(kThreads);
  blockDim = dim3(kThreads);
  gridDim = dim3(1);
  std::function<void()> work = [&] { call(kernel, arguments, std::index_sequence_for<T...>()); ended[threadIdx.x] = true; };
  body = &work;
  for (unsigned i = 0; i < kThreads; ++i) {
    getcontext(&threads[i]);
    threads[i].uc_stack.ss_sp = &stacks[kStack * i];
    threads[i].uc_stack.ss_size = kStack;
    threads[i].uc_link = &scheduler;
    makecontext(&threads[i], +[] { (*body)(); }, 0);
  }
  while (std::find(ended.begin(), ended.end(), false) != ended.end()) {
    for (unsigned i = 0; i < kThreads; ++i) {
      if (ended[i]) continue;
      threadIdx.x = i;
      running = &threads[i];
      swapcontext(&scheduler, running);
    }
  }
}
}  // namespace pretended
