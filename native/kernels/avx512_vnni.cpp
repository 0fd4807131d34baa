#define ENFOLD_ISA avx512_vnni
#include "isa.h"
