// The calls of NCCL that Caffe makes, for GPUs of one process, each with a thread. A call waits until all have come, so order and
// number of calls must be the same on all, as NCCL wants it.
#include <nccl.h>

#include <condition_variable>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "memory.hpp"

namespace {
struct Group {
  std::mutex guard;
  std::condition_variable changed;
  std::vector<const void*> from;
  std::vector<void*> to;
  int came = 0, round = 0;
};
struct Member { std::shared_ptr<Group> group; int rank, device; };

Member& member(ncclComm_t comm) { return *reinterpret_cast<Member*>(comm); }

// Hands in both sides of a rank; the last to come does the work for all.
ncclResult_t together(ncclComm_t comm, const void* from, void* to, const std::function<void(const Group&)>& work) {
  Group& group = *member(comm).group;
  std::unique_lock<std::mutex> lock(group.guard);
  group.from[member(comm).rank] = pretended::here(from, member(comm).device);
  group.to[member(comm).rank] = pretended::here(to, member(comm).device);
  if (++group.came == int(group.from.size())) {
    work(group);
    group.came = 0;
    ++group.round;
    group.changed.notify_all();
  } else {
    group.changed.wait(lock, [&group, round = group.round] { return group.round != round; });
  }
  return ncclSuccess;
}

template <typename T> void add(const Group& group, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    T sum = 0;
    for (const void* values : group.from) sum += static_cast<const T*>(values)[i];
    for (void* values : group.to) static_cast<T*>(values)[i] = sum;
  }
}

std::shared_ptr<Group> new_group(int size) {
  auto group = std::make_shared<Group>();
  group->from.resize(size);
  group->to.resize(size);
  return group;
}
}  // namespace

extern "C" {
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  static int made = 0;
  memset(id, 0, sizeof *id);
  memcpy(id->internal, &++made, sizeof made);
  return ncclSuccess;
}
ncclResult_t ncclCommInitAll(ncclComm_t* comms, int count, const int* devices) {
  auto group = new_group(count);
  for (int rank = 0; rank < count; ++rank) comms[rank] = reinterpret_cast<ncclComm_t>(new Member{group, rank, devices[rank]});
  return ncclSuccess;
}
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int count, ncclUniqueId id, int rank) {
  static std::mutex guard;
  static std::map<std::string, std::shared_ptr<Group>> groups;
  std::lock_guard<std::mutex> lock(guard);
  auto& group = groups[std::string(id.internal, sizeof id.internal)];
  if (!group) group = new_group(count);
  *comm = reinterpret_cast<ncclComm_t>(new Member{group, rank, pretended::current_device()});
  return ncclSuccess;
}
ncclResult_t ncclCommDestroy(ncclComm_t comm) { delete &member(comm); return ncclSuccess; }
const char* ncclGetErrorString(ncclResult_t) { return "an error of the pretended NCCL"; }
ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t comm, cudaStream_t) {
  if (operation != ncclSum || (type != ncclFloat && type != ncclDouble)) return ncclInvalidArgument;
  return together(comm, from, to, [=](const Group& group) { type == ncclFloat ? add<float>(group, count) : add<double>(group, count); });
}
ncclResult_t ncclBcast(void* values, size_t count, ncclDataType_t type, int root, ncclComm_t comm, cudaStream_t) {
  const size_t bytes = count * (type == ncclDouble ? 8 : 4);
  return together(comm, values, values, [=](const Group& group) {
    for (size_t rank = 0; rank < group.to.size(); ++rank) {
      if (int(rank) != root) memcpy(group.to[rank], group.from[root], bytes);
    }
  });
}
}
