#define ENFOLD_ISA avx512
#include "isa.h"
