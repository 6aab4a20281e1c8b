#include <string.h>

#include "base/checked.h"
#include "plan/build.h"

static size_t panels_of(size_t n)
{
    return n / PLAN_PANEL + (n % PLAN_PANEL != 0);
}

size_t plan_panels_count(size_t groups, size_t k, size_t n)
{
    size_t count;
    if (!base_mul_size(panels_of(n), PLAN_PANEL, &count) || !base_mul_size(count, k, &count) ||
        !base_mul_size(count, groups, &count)) {
        return 0;
    }
    return count;
}

void plan_pack_panels(const float *w, size_t groups, size_t k, size_t n, float *out)
{
    for (size_t g = 0; g < groups; g++) {
        for (size_t column = 0; column < n; column += PLAN_PANEL) {
            size_t width = n - column < PLAN_PANEL ? n - column : PLAN_PANEL;
            for (size_t row = 0; row < k; row++, out += PLAN_PANEL) {
                memcpy(out, w + (g * k + row) * n + column, width * sizeof *out);
                memset(out + width, 0, (PLAN_PANEL - width) * sizeof *out);
            }
        }
    }
}

void plan_pack_padded(const float *bias, size_t groups, size_t n, float *out)
{
    size_t padded = panels_of(n) * PLAN_PANEL;
    for (size_t g = 0; g < groups; g++, out += padded) {
        if (n > 0) {
            memcpy(out, bias + g * n, n * sizeof *out);
        }
        memset(out + n, 0, (padded - n) * sizeof *out);
    }
}
