/* Counting pairs of labels; compiled by tools/support/native.py. */

#include <stdint.h>
#include <string.h>

/* Eight pixels at once: most neighbours in a label map are alike. */
static uint64_t eight(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

static uint64_t repeated(int byte) { return 0x0101010101010101u * (uint64_t)byte; }

/* Adds to counts[256 * truth + prediction], n pixels of each. `tables` are 4 x 65536 zeros: neighbours that are alike do not wait
   for each other. */
void count_pairs(const uint8_t *truth, const uint8_t *prediction, int64_t n, uint32_t *tables, int64_t *counts) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        if (eight(truth + i) == repeated(truth[i]) && eight(prediction + i) == repeated(prediction[i]))
            tables[truth[i] << 8 | prediction[i]] += 8;
        else
            for (int k = 0; k < 8; ++k) ++tables[(k & 3) << 16 | truth[i + k] << 8 | prediction[i + k]];
    }
    for (; i < n; ++i) ++tables[truth[i] << 8 | prediction[i]];
    for (int k = 0; k < 4 << 16; ++k) counts[k & 0xFFFF] += tables[k];
}
