#define ENFOLD_ISA avx2
#include "isa.h"
