// The calls of the CUDA runtime that a program made by nvcc from Caffe's source makes, answered by the host. Loaded before the real
// libcudart (LD_PRELOAD). Kernels are those of libpretended_kernels.so, the same source compiled for the host: see build.py.
//   PRETENDED_GPUS           how many GPUs there are (1)
//   PRETENDED_GPU_BYTES      memory of each (80e9)
//   PRETENDED_GPU_KERNELS    path of libpretended_kernels.so
//   PRETENDED_GPU_USE        folder: a file <pid> with the bytes in use and the most there were, of each GPU (two rows of kMostDevices)
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "memory.hpp"

namespace {
const size_t kRegion = size_t(4) << 40, kPage = 4096, kGranule = 512;
const int kMostDevices = 8;
struct Block { char* start; size_t size, counted; int device; };
struct Use { int64_t now[kMostDevices], most[kMostDevices]; };
struct Launch { dim3 grid, block; };

thread_local int device_in_use = 0;
thread_local cudaError_t last_error = cudaSuccess;
thread_local Launch configured;
std::atomic<bool> closed{false};

// Never freed: threads may still come here while the process ends.
std::mutex& guard() { static auto* const one = new std::mutex; return *one; }
std::map<char*, Block>& blocks() { static auto* const all = new std::map<char*, Block>; return *all; }
std::map<const void*, std::string>& kernels() { static auto* const all = new std::map<const void*, std::string>; return *all; }

int setting(const char* name, int otherwise) { const char* text = getenv(name); return text ? atoi(text) : otherwise; }
int devices() { static const int count = setting("PRETENDED_GPUS", 1); return count; }
int64_t capacity() { static const char* text = getenv("PRETENDED_GPU_BYTES"); return text ? int64_t(atof(text)) : int64_t(80e9); }

// A file that others read while this process runs, and after it.
Use* use() {
  static Use* const shared = [] {
    int flags = MAP_SHARED | MAP_ANONYMOUS, file = -1;
    if (const char* folder = getenv("PRETENDED_GPU_USE")) {
      file = open((std::string(folder) + "/" + std::to_string(getpid())).c_str(), O_RDWR | O_CREAT | O_TRUNC, 0644);
      if (file < 0 || ftruncate(file, sizeof(Use))) { perror("PRETENDED_GPU_USE"); abort(); }
      flags = MAP_SHARED;
    }
    return static_cast<Use*>(mmap(nullptr, sizeof(Use), PROT_READ | PROT_WRITE, flags, file, 0));
  }();
  return shared;
}

char* region() {
  static char* const start = static_cast<char*>(mmap(nullptr, 2 * kRegion, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  return start;
}

cudaError_t state(cudaError_t error = cudaSuccess) {
  static const int registered = atexit([] { closed = true; });  // at the first call, as CUDA's own runtime does
  (void)registered;
  if (closed) error = cudaErrorCudartUnloading;
  if (!closed && devices() == 0) error = cudaErrorNoDevice;
  if (error != cudaSuccess) last_error = error;
  return error;
}

Block* block_of(const void* address) {
  auto found = blocks().upper_bound(static_cast<char*>(const_cast<void*>(address)));
  if (found == blocks().begin()) return nullptr;
  Block& block = (--found)->second;
  return address < block.start + block.size ? &block : nullptr;
}

// Where a copy reads or writes: host addresses as they are, device addresses with all of the bytes in one block.
void* side_of_copy(const void* address, size_t bytes) {
  if (!pretended::on_device(address)) return const_cast<void*>(address);
  std::lock_guard<std::mutex> lock(guard());
  Block* block = block_of(address);
  if (!block || static_cast<const char*>(address) + bytes > block->start + block->size) pretended::refuse("a copy over the end", address);
  return static_cast<char*>(const_cast<void*>(address)) + kRegion;
}

cudaError_t launch(const void* function, dim3 grid, dim3 block, void** arguments) {
  using Kernel = void (*)(void**);
  if (state()) return last_error;
  if (!grid.x || !grid.y || !grid.z || !block.x || block.x * block.y * block.z > 1024) return state(cudaErrorInvalidConfiguration);
  static thread_local std::map<const void*, Kernel> known;
  Kernel& kernel = known[function];
  if (!kernel) {
    std::lock_guard<std::mutex> lock(guard());
    static void* const library = dlopen(getenv("PRETENDED_GPU_KERNELS"), RTLD_NOW | RTLD_LOCAL);
    if (!library) { fprintf(stderr, "pretended GPU: %s\n", dlerror()); abort(); }
    kernel = reinterpret_cast<Kernel>(dlsym(library, ("run" + kernels().at(function)).c_str()));
    if (!kernel) { fprintf(stderr, "pretended GPU: no kernel %s\n", kernels().at(function).c_str()); abort(); }
  }
  kernel(arguments);
  return cudaSuccess;
}
}  // namespace

namespace pretended {
int current_device() { return device_in_use; }
bool driver_has_closed() { return closed; }
bool on_device(const void* address) { return address >= region() && address < region() + kRegion; }
void refuse(const char* what, const void* address) {
  fprintf(stderr, "pretended GPU: %s: address %p, device %d\n", what, address, device_in_use);
  abort();
}
void* shadow(const void* address, int device) {
  std::lock_guard<std::mutex> lock(guard());
  Block* block = block_of(address);
  if (!block) refuse("not memory of a GPU", address);
  if (block->device != device) refuse("memory of another GPU", address);
  return static_cast<char*>(const_cast<void*>(address)) + kRegion;
}
}  // namespace pretended

extern "C" {
cudaError_t cudaGetDeviceCount(int* count) { *count = devices(); return state(); }
cudaError_t cudaGetDevice(int* device) { *device = device_in_use; return state(); }
cudaError_t cudaSetDevice(int device) {
  if (state()) return last_error;
  if (device < 0 || device >= devices()) return state(cudaErrorInvalidDevice);
  device_in_use = device;
  return cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* prop, int device) {
  if (device < 0 || device >= devices()) return state(cudaErrorInvalidDevice);
  memset(prop, 0, sizeof *prop);
  strcpy(prop->name, "pretended GPU");
  prop->totalGlobalMem = capacity();
  prop->major = 9;
  prop->maxThreadsPerBlock = 1024;
  return state();
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr, int) { *value = 0; return state(); }

cudaError_t cudaMalloc(void** pointer, size_t size) {
  if (state()) return last_error;
  if (!size) { *pointer = nullptr; return cudaSuccess; }
  std::lock_guard<std::mutex> lock(guard());
  const size_t counted = (size + kGranule - 1) / kGranule * kGranule;
  int64_t &now = use()->now[device_in_use], &most = use()->most[device_in_use];
  if (now + int64_t(counted) > capacity()) return state(cudaErrorMemoryAllocation);
  static size_t given = kPage;
  const size_t pages = (size + kPage - 1) / kPage * kPage;
  char* const first = region() + given;
  given += pages + kPage;
  if (given > kRegion || mprotect(first + kRegion, pages, PROT_READ | PROT_WRITE)) { perror("pretended GPU: memory"); abort(); }
  memset(first + kRegion, 0xff, pages);  // NaN: what was never written shows
  char* const start = first + (pages - size) / 256 * 256;  // aligned as CUDA does, the end as near to the forbidden page as can be
  blocks()[start] = {start, size, counted, device_in_use};
  now += counted;
  most = now > most ? now : most;
  *pointer = start;
  return cudaSuccess;
}
cudaError_t cudaFree(void* pointer) {
  if (state()) return last_error;
  if (!pointer) return cudaSuccess;
  std::lock_guard<std::mutex> lock(guard());
  auto found = blocks().find(static_cast<char*>(pointer));
  if (found == blocks().end()) return state(cudaErrorInvalidValue);
  const Block block = found->second;
  blocks().erase(found);
  use()->now[block.device] -= block.counted;
  const uintptr_t first = reinterpret_cast<uintptr_t>(block.start) / kPage * kPage, end = reinterpret_cast<uintptr_t>(block.start) + block.size;
  mmap(reinterpret_cast<char*>(first) + kRegion, end - first, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  return cudaSuccess;
}
cudaError_t cudaMallocHost(void** pointer, size_t size) { *pointer = malloc(size ? size : 1); return state(); }
cudaError_t cudaFreeHost(void* pointer) { if (state()) return last_error; free(pointer); return cudaSuccess; }
cudaError_t cudaMemset(void* pointer, int value, size_t size) {
  if (state()) return last_error;
  if (size) memset(pretended::here(static_cast<char*>(pointer)), value, size);
  return cudaSuccess;
}
cudaError_t cudaMemcpy(void* to, const void* from, size_t size, cudaMemcpyKind) {
  if (state()) return last_error;
  if (size) memcpy(side_of_copy(to, size), side_of_copy(from, size), size);
  return cudaSuccess;
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t size, cudaMemcpyKind kind, cudaStream_t) {
  return cudaMemcpy(to, from, size, kind);
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) { *stream = reinterpret_cast<cudaStream_t>(malloc(1)); return state(); }
cudaError_t cudaStreamDestroy(cudaStream_t stream) { free(stream); return state(); }
cudaError_t cudaStreamQuery(cudaStream_t) { return state(); }
cudaError_t cudaStreamSynchronize(cudaStream_t) { return state(); }

using Clock = std::chrono::steady_clock;
cudaError_t cudaEventCreate(cudaEvent_t* event) { *event = reinterpret_cast<cudaEvent_t>(new Clock::time_point); return state(); }
cudaError_t cudaEventDestroy(cudaEvent_t event) { delete reinterpret_cast<Clock::time_point*>(event); return state(); }
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t) { *reinterpret_cast<Clock::time_point*>(event) = Clock::now(); return state(); }
cudaError_t cudaEventSynchronize(cudaEvent_t) { return state(); }
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t start, cudaEvent_t end) {
  using Duration = std::chrono::duration<float, std::milli>;
  *milliseconds = Duration(*reinterpret_cast<Clock::time_point*>(end) - *reinterpret_cast<Clock::time_point*>(start)).count();
  return state();
}

cudaError_t cudaGetLastError() { const cudaError_t error = last_error; last_error = cudaSuccess; return error; }
cudaError_t cudaPeekAtLastError() { return last_error; }
const char* cudaGetErrorString(cudaError_t error) {
  const std::string name = "libcudart.so." + std::to_string(CUDART_VERSION / 1000);  // the words of CUDA itself
  void* const library = dlopen(name.c_str(), RTLD_LAZY | RTLD_NOLOAD);
  return reinterpret_cast<const char* (*)(cudaError_t)>(dlsym(library, "cudaGetErrorString"))(error);
}

// What nvcc's code calls to make its kernels known and to launch them (crt/host_runtime.h).
void** __cudaRegisterFatBinary(void*) { static void* handle; return &handle; }
void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}
void __cudaRegisterFunction(void**, const char* function, char*, const char* name, int, uint3*, uint3*, dim3*, dim3*, int*) {
  std::lock_guard<std::mutex> lock(guard());
  kernels()[function] = name;
}
unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t, cudaStream_t) { configured = {grid, block}; return 0; }
cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  *grid = configured.grid;
  *block = configured.block;
  *shared = 0;
  *static_cast<cudaStream_t*>(stream) = nullptr;
  return cudaSuccess;
}
cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) { *kernel = static_cast<cudaKernel_t>(const_cast<void*>(function)); return cudaSuccess; }
cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** arguments, size_t, cudaStream_t) {
  return launch(kernel, grid, block, arguments);
}
cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** arguments, size_t, cudaStream_t) {
  return launch(function, grid, block, arguments);
}
}
