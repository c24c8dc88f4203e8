// The calls of cuRAND that Caffe makes. The numbers are others than cuRAND's; the same seed gives the same ones.
#include <curand.h>

#include <random>

#include "memory.hpp"

using pretended::here;

namespace {
struct Generator { int device; std::mt19937_64 engine; };

std::mt19937_64& engine(curandGenerator_t generator) {
  Generator& ours = *reinterpret_cast<Generator*>(generator);
  if (ours.device != pretended::current_device()) pretended::refuse("a cuRAND generator of another GPU", generator);
  return ours.engine;
}

template <typename T, typename Distribution>
curandStatus_t fill(curandGenerator_t generator, T* values, size_t count, Distribution distribution) {
  values = here(values);
  for (size_t i = 0; i < count; ++i) values[i] = distribution(engine(generator));
  return CURAND_STATUS_SUCCESS;
}

template <typename T> curandStatus_t normal(curandGenerator_t generator, T* values, size_t count, T mean, T deviation) {
  if (count % 2) return CURAND_STATUS_LENGTH_NOT_MULTIPLE;  // as cuRAND: it makes them in pairs
  return fill(generator, values, count, std::normal_distribution<T>(mean, deviation));
}
}  // namespace

extern "C" {
curandStatus_t curandCreateGenerator(curandGenerator_t* generator, curandRngType_t) {
  *generator = reinterpret_cast<curandGenerator_t>(new Generator{pretended::current_device(), {}});
  return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandDestroyGenerator(curandGenerator_t generator) {
  if (pretended::driver_has_closed()) pretended::refuse("a cuRAND generator freed after the driver has closed", generator);
  delete reinterpret_cast<Generator*>(generator);
  return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandSetPseudoRandomGeneratorSeed(curandGenerator_t generator, unsigned long long seed) {
  reinterpret_cast<Generator*>(generator)->engine.seed(seed);
  return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandSetGeneratorOffset(curandGenerator_t generator, unsigned long long offset) {
  reinterpret_cast<Generator*>(generator)->engine.discard(offset);
  return CURAND_STATUS_SUCCESS;
}
curandStatus_t curandGenerate(curandGenerator_t generator, unsigned* values, size_t count) {
  return fill(generator, values, count, [](std::mt19937_64& engine) { return unsigned(engine() >> 32); });
}
curandStatus_t curandGenerateUniform(curandGenerator_t generator, float* values, size_t count) {  // 0 excluded, 1 included
  return fill(generator, values, count, [](std::mt19937_64& engine) { return ((engine() >> 40) + 1) / float(1 << 24); });
}
curandStatus_t curandGenerateUniformDouble(curandGenerator_t generator, double* values, size_t count) {
  return fill(generator, values, count, [](std::mt19937_64& engine) { return ((engine() >> 11) + 1) / double(1ull << 53); });
}
curandStatus_t curandGenerateNormal(curandGenerator_t generator, float* values, size_t count, float mean, float deviation) {
  return normal(generator, values, count, mean, deviation);
}
curandStatus_t curandGenerateNormalDouble(curandGenerator_t generator, double* values, size_t count, double mean, double deviation) {
  return normal(generator, values, count, mean, deviation);
}
}
