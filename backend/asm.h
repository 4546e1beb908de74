/* asm.h - the text of array programs. Map texts hold one, too, so that it lives in ir. */
#ifndef BF_BACKEND_ASM_H
#define BF_BACKEND_ASM_H

#include "ir/asm.h"

#endif
