/* Label maps out of PNG files; compiled by tools/support/native.py. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Eight pixels at once: most neighbours in a label map are alike. */
static uint64_t eight(const uint8_t *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

/* The neighbour that PNG's filter 4 predicts from: left, above, or above and left (PNG specification, 9.4). */
static int paeth(int left, int above, int corner) {
    const int p = left + above - corner;
    const int to_left = abs(p - left), to_above = abs(p - above), to_corner = abs(p - corner);
    if (to_left <= to_above && to_left <= to_corner)
        return left;
    return to_above <= to_corner ? above : corner;
}

/* One row of `out`, from its filtered bytes and the row above. */
static void unfilter_row(int filter, const uint8_t *in, const uint8_t *above, int width, uint8_t *out) {
    int left = 0;
    switch (filter) {
    case 0:
        for (int x = 0; x < width; ++x) out[x] = in[x];
        break;
    case 1:
        for (int x = 0; x < width;) {
            if (x + 8 <= width && eight(in + x) == 0) {
                memset(out + x, left, 8);
                x += 8;
            } else {
                out[x] = (uint8_t)(left = (left + in[x]) & 255);
                ++x;
            }
        }
        break;
    case 2:
        for (int x = 0; x < width; ++x) out[x] = (uint8_t)(in[x] + above[x]);
        break;
    case 3:
        for (int x = 0; x < width; ++x) out[x] = (uint8_t)(left = (in[x] + (left + above[x]) / 2) & 255);
        break;
    default:
        for (int x = 0; x < width; ++x) {
            const int corner = x ? above[x - 1] : 0;
            out[x] = (uint8_t)(left = (in[x] + paeth(left, above[x], corner)) & 255);
        }
    }
}

/* A map, uint8 (height, width), from the inflated bytes of a PNG of one byte a pixel; 0, or 1 for a filter that there is not.
   `zeros` are `width` zeros. */
int unfilter(const uint8_t *bytes, int height, int width, const uint8_t *zeros, uint8_t *out) {
    for (int y = 0; y < height; ++y) {
        const uint8_t *row = bytes + (int64_t)y * (width + 1);
        if (row[0] > 4)
            return 1;
        unfilter_row(row[0], row + 1, y ? out + (int64_t)(y - 1) * width : zeros, width, out + (int64_t)y * width);
    }
    return 0;
}
