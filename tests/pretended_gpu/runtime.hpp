// What a test may ask of the pretended GPU.
#include <cstddef>

int blocks_alive();        // pieces of device memory that were not freed
size_t largest_block();    // bytes of the largest that was ever taken, since forget_largest()
void forget_largest();
void close_driver();       // as at the end of a process
