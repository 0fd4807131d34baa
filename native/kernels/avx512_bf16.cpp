#define ENFOLD_ISA avx512_bf16
#include "isa.h"
