// Caffe's convolution layers in GPU mode on the pretended GPU, against themselves in CPU mode. Exit status 0 when all is well.
//   bands: forward and both gradients, for windows of all sorts (run with CAFFE_COLUMN_MIB, or without)
//   devices: a thread that goes from one GPU to another and back; a product with the other's memory would abort
//   threads: threads end, and all that they took is free
//   exit: the driver has closed when the main thread's buffers and handles go
#include <boost/thread.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "caffe/layers/conv_layer.hpp"
#include "caffe/layers/deconv_layer.hpp"
#include "caffe/util/math_functions.hpp"
#include "runtime.hpp"

using caffe::Blob;
using caffe::Caffe;
using std::vector;

struct Window { int height, width, kernel, stride, pad, dilation, group; bool transposed; };
const Window kWindows[] = {
    {37, 29, 3, 1, 0, 1, 1, false}, {37, 29, 3, 1, 1, 1, 1, false}, {41, 30, 3, 1, 4, 4, 1, false}, {40, 33, 7, 1, 0, 4, 1, false},
    {33, 20, 3, 1, 20, 2, 2, false}, {31, 31, 3, 2, 1, 1, 1, false}, {20, 23, 1, 1, 0, 1, 1, false}, {9, 7, 4, 2, 1, 1, 4, true},
    {21, 18, 3, 1, 1, 1, 1, true},
};

template <typename Dtype>
vector<Dtype> results(Caffe::Brew mode, const Window& window) {
  Caffe::set_mode(mode);
  caffe::LayerParameter param;
  auto* convolution = param.mutable_convolution_param();
  convolution->set_num_output(window.transposed && window.group > 1 ? 4 : 6);
  convolution->add_kernel_size(window.kernel);
  convolution->add_stride(window.stride);
  convolution->add_pad(window.pad);
  convolution->add_dilation(window.dilation);
  convolution->set_group(window.group);
  Blob<Dtype> bottom(2, 4, window.height, window.width), top;
  vector<Blob<Dtype>*> bottoms{&bottom}, tops{&top};
  boost::shared_ptr<caffe::Layer<Dtype> > layer;
  if (window.transposed) {
    layer.reset(new caffe::DeconvolutionLayer<Dtype>(param));
  } else {
    layer.reset(new caffe::ConvolutionLayer<Dtype>(param));
  }
  layer->SetUp(bottoms, tops);
  unsigned state = 1;
  auto fill = [&state](int count, Dtype* values) {
    for (int i = 0; i < count; ++i) values[i] = ((state = state * 1664525u + 1013904223u) >> 8) / Dtype(1 << 24) - Dtype(0.5);
  };
  fill(bottom.count(), bottom.mutable_cpu_data());
  for (auto& blob : layer->blobs()) {
    fill(blob->count(), blob->mutable_cpu_data());
    caffe::caffe_set(blob->count(), Dtype(0.25), blob->mutable_cpu_diff());  // gradients add to what is there
  }
  layer->Forward(bottoms, tops);
  fill(top.count(), top.mutable_cpu_diff());
  layer->Backward(tops, vector<bool>{true}, bottoms);
  vector<Dtype> found(top.cpu_data(), top.cpu_data() + top.count());
  found.insert(found.end(), bottom.cpu_diff(), bottom.cpu_diff() + bottom.count());
  for (auto& blob : layer->blobs()) found.insert(found.end(), blob->cpu_diff(), blob->cpu_diff() + blob->count());
  return found;
}

template <typename Dtype>
int differing(const vector<Dtype>& ours, const vector<Dtype>& theirs, double tolerance) {
  int count = ours.size() != theirs.size();
  for (size_t i = 0; i < ours.size() && i < theirs.size(); ++i) count += !(std::abs(ours[i] - theirs[i]) <= tolerance);
  return count;
}

int bands() {
  int wrong = 0;
  for (const Window& window : kWindows) {
    forget_largest();
    const int in_float = differing(results<float>(Caffe::GPU, window), results<float>(Caffe::CPU, window), 2e-4);
    const size_t largest = largest_block();
    const int in_double = differing(results<double>(Caffe::GPU, window), results<double>(Caffe::CPU, window), 1e-11);
    printf("%d of float, %d of double; largest block %zu\n", in_float, in_double, largest);
    wrong += in_float + in_double;
  }
  return wrong;
}

int devices() {
  const auto on_cpu = results<float>(Caffe::CPU, kWindows[1]);
  int wrong = 0;
  for (int device : {0, 1, 0, 1}) {
    Caffe::SetDevice(device);
    wrong += differing(results<float>(Caffe::GPU, kWindows[1]), on_cpu, 2e-4);
  }
  return wrong;
}

int threads() {
  const auto on_cpu = results<float>(Caffe::CPU, kWindows[1]);
  int wrong[4] = {0, 0, 0, 0};
  boost::thread_group group;
  for (int rank = 0; rank < 4; ++rank) {
    group.create_thread([&wrong, &on_cpu, rank] {
      Caffe::SetDevice(rank % 2);
      for (int i = 0; i < 10; ++i) wrong[rank] += differing(results<float>(Caffe::GPU, kWindows[1]), on_cpu, 2e-4);
    });
  }
  group.join_all();
  printf("%d blocks left\n", blocks_alive());
  return wrong[0] + wrong[1] + wrong[2] + wrong[3] + blocks_alive();
}

int exit_after_the_driver() {
  results<float>(Caffe::GPU, kWindows[1]);
  static Blob<float> kept(1, 1, 8, 8);  // as a program's own global
  kept.mutable_gpu_data();
  kept.mutable_cpu_data();
  close_driver();
  return 0;
}

int main(int, char** arguments) {
  const std::string name = arguments[1];
  const int wrong = name == "bands" ? bands() : name == "devices" ? devices() : name == "threads" ? threads() : exit_after_the_driver();
  printf("%d wrong\n", wrong);
  return wrong != 0;
}
