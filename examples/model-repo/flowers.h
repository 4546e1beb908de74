/* flowers.h - what main.c asks of a device: array.c and host.c are two answers. */
#ifndef FLOWERS_H
#define FLOWERS_H

#include <stdbool.h>
#include <stddef.h>

enum { LENGTHS = 4, KINDS = 3 };

/* Scores [count][KINDS] of flowers [count][LENGTHS]. False after a message on stderr. */
bool classify(size_t count, const float *flowers, float *scores);

#endif
