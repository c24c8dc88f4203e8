/* The most probable class of each pixel from a map of class probabilities, one pass over classes a pixel row: the enlarged
   probabilities are never stored. The arithmetic is fyu/dilation's interp_map: in double, the rows first, then rounded to float.
   Compiled by native.py, with -ffp-contract=off so that no step is left out. */

#include <math.h>
#include <stdint.h>

#ifdef __x86_64__
#define FASTEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FASTEST
#endif

enum { STRIDE = 8 }; /* pixels of a cell, along a side */

typedef struct {
    int32_t classes, cells_high, cells_wide; /* shape of the map, float (classes, cells_high, cells_wide) */
    int32_t width;                           /* pixels in a row of the label map */
} Sizes;

/* out[i] between low[i] and high[i], `weight` of the way. */
FASTEST static void between(const float *low, const float *high, double weight, int n, double *out) {
    for (int i = 0; i < n; ++i)
        out[i] = weight * high[i] + (1 - weight) * low[i];
}

/* Class `id` takes the pixels where it beats the best so far; `row` holds its probability at the cells + 1 borders. */
FASTEST static void challenge(const double *row, int cells, int32_t id, float *best, int32_t *label) {
    for (int i = 0; i < cells; ++i) {
        for (int k = 0; k < STRIDE; ++k) {
            const double right = k / (double)STRIDE;
            const float value = (float)((1 - right) * row[i] + right * row[i + 1]);
            const int pixel = i * STRIDE + k;
            label[pixel] = value > best[pixel] ? id : label[pixel];
            best[pixel] = value > best[pixel] ? value : best[pixel];
        }
    }
}

/* The same where a cell is a pixel. */
FASTEST static void challenge_pixels(const float *row, int n, int32_t id, float *best, int32_t *label) {
    for (int i = 0; i < n; ++i) {
        label[i] = row[i] > best[i] ? id : label[i];
        best[i] = row[i] > best[i] ? row[i] : best[i];
    }
}

static void begin(int n, float *best, int32_t *label) {
    for (int i = 0; i < n; ++i) {
        best[i] = -INFINITY;
        label[i] = 0;
    }
}

static void put(const int32_t *label, int width, uint8_t *out) {
    for (int x = 0; x < width; ++x)
        out[x] = (uint8_t)label[x];
}

/* Rows top to bottom - 1 of `labels`, uint8 (height, width), each STRIDE-th on a row of cells; past the last cell it is repeated.
   Work space: `row` of cells + 1, `best` and `label` of STRIDE * cells, where cells cover the width. */
void label_rows_8(const float *prob, const Sizes *s, int32_t top, int32_t bottom, uint8_t *labels, double *row, float *best,
                  int32_t *label) {
    const int64_t plane = (int64_t)s->cells_high * s->cells_wide;
    const int cells = (s->width + STRIDE - 1) / STRIDE;
    const int read = cells + 1 < s->cells_wide ? cells + 1 : s->cells_wide;
    for (int y = top; y < bottom; ++y) {
        const int64_t low = y / STRIDE, high = low + 1 < s->cells_high ? low + 1 : low;
        begin(STRIDE * cells, best, label);
        for (int c = 0; c < s->classes; ++c) {
            const float *map = prob + c * plane;
            between(map + low * s->cells_wide, map + high * s->cells_wide, y % STRIDE / (double)STRIDE, read, row);
            if (read == cells)
                row[cells] = row[cells - 1];
            challenge(row, cells, c, best, label);
        }
        put(label, s->width, labels + (int64_t)y * s->width);
    }
}

/* The same for a map at full resolution; `row` is not used. */
void label_rows_1(const float *prob, const Sizes *s, int32_t top, int32_t bottom, uint8_t *labels, double *row, float *best,
                  int32_t *label) {
    const int64_t plane = (int64_t)s->cells_high * s->cells_wide;
    (void)row;
    for (int y = top; y < bottom; ++y) {
        begin(s->width, best, label);
        for (int c = 0; c < s->classes; ++c)
            challenge_pixels(prob + c * plane + (int64_t)y * s->cells_wide, s->width, c, best, label);
        put(label, s->width, labels + (int64_t)y * s->width);
    }
}
