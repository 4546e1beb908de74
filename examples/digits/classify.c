/* classify.c - the digits network as an object in a C program: nothing else is linked but libm. */
#include "digits.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The data of a tensor: after 8 bytes and a header in JSON, at its first offset. */
static const void *tensor(const char *file, const char *name) {
    const char *offsets = strstr(strstr(file + 8, name), "\"data_offsets\":[");
    return file + 8 + *(const uint64_t *)file + strtoul(offsets + 16, NULL, 10);
}

int main(int argc, char **argv) {
    static _Alignas(64) char file[1 << 20], workspace[DIGITS_WORKSPACE_SIZE];
    FILE *stream = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!stream || fread(file, 1, sizeof file - 1, stream) < 8)
        return 2;
    const uint16_t *pixel = tensor(file, "\"input.image\""); /* fp16, 0 to 1 */
    const int32_t *labels = tensor(file, "\"label\"");
    int right = 0, count = 200;
    for (int i = 0; i < count; i++) {
        float image[DIGITS_IMAGE_SIZE], logits[DIGITS_LOGITS_SIZE];
        for (int p = 0; p < DIGITS_IMAGE_SIZE; p++, pixel++)
            image[p] = *pixel ? ldexpf(1024 + *pixel % 1024, *pixel / 1024 - 25) : 0;
        struct digits_in in = {.image = image};
        if (digits_run(&in, &(struct digits_out){.logits = logits}, workspace))
            return 1;
        int best = 0;
        for (int c = 1; c < DIGITS_LOGITS_SIZE; c++)
            best = logits[c] > logits[best] ? c : best;
        right += best == labels[i];
    }
    printf("%d of %d digits are read right\n", right, count);
}
