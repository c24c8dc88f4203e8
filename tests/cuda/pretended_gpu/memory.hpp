// Memory of the pretended GPUs. A device address is one that the host may not touch; what it stands for lies kShadow bytes further.
// No address is given twice, and between two blocks lies a page that nobody may touch: a host that reads device memory, a kernel
// that gets a host address, that runs over an end or that uses what was freed, all end at once.
#pragma once
#include <cstddef>

namespace pretended {
int current_device();
bool on_device(const void* address);
void* shadow(const void* address, int device);  // where a block of this device lies; ends the process for any other address
template <typename T> T* here(T* address, int device = current_device()) {
  return address ? static_cast<T*>(shadow(address, device)) : nullptr;
}
bool driver_has_closed();
[[noreturn]] void refuse(const char* what, const void* address);
}  // namespace pretended
