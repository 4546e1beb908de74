/* dtype.h - element types of tensors, as networks declare them and programs store them. */
#ifndef BF_ISA_DTYPE_H
#define BF_ISA_DTYPE_H

enum bf_dtype { BF_F16 = 0, BF_F32 = 1, BF_I32 = 2, BF_U8 = 3 };

#endif
